import type { Backing } from '../memory/region.ts';

/** What a process hands to another over a channel: a file descriptor where there are some. It has one owner, who closes it. */
export interface Descriptor {
  /** Safe to call twice. */
  close(): void;
}

export function closeAll(descriptors: readonly Descriptor[]): void {
  for (const descriptor of descriptors) descriptor.close();
}

/** Memory behind a descriptor, as this process sees it. */
export interface MappedMemory {
  /** The bytes, in pieces of at most 4 GiB, each a whole one but the last. */
  readonly pieces: readonly Backing[];
  /** Takes the bytes away. Whoever touches them then may crash the process: take the regions out of their memory first. */
  close(): void;
}

/** An event counter that two processes share, as eventfd(2) has it. */
export interface EventHost {
  /** A new event, at rest. @throws {HostError} IO_ERROR when the system gives none. */
  createEvent(): Descriptor;
  /** Tells whoever watches the event. Never blocks; does nothing where the descriptor is no event. */
  signal(event: Descriptor): void;
  /**
   * Calls `happened` after each signal, or once for several, until the function it gives is called. A signal from
   * before the watch counts. The descriptor stays the caller's, and must be open until the watch ends.
   *
   * @throws {HostError} IO_ERROR when the descriptor cannot be watched.
   */
  watch(event: Descriptor, happened: () => void): () => void;
}

/** What a host can do with descriptors that came over a channel. */
export interface DescriptorHost extends EventHost {
  /**
   * Maps memory, to be read and written and shared with the other process. The descriptor may be closed afterwards.
   *
   * @param offset bytes from its start; need not be a multiple of the page size.
   * @throws {HostError} IO_ERROR when the descriptor is no memory, or has fewer bytes than that.
   */
  map(descriptor: Descriptor, offset: number, length: number): MappedMemory;
  /**
   * Memory of `length` zeros that other processes can map.
   *
   * @throws {HostError} NO_SPACE or IO_ERROR when there is none.
   */
  createMemory(length: number): Descriptor;
}

/**
 * What a host can do with memory that another process may cut off at any time. None of it touches a mapping, so that what
 * is gone is an error, and not the end of the process.
 */
export interface ContentHost {
  /** The same for all descriptors of the same memory, and for no other; `undefined` for what is no memory. */
  identify(descriptor: Descriptor): string | undefined;
  /** One more descriptor of the same thing. @throws {HostError} IO_ERROR when the system gives none. */
  duplicate(descriptor: Descriptor): Descriptor;
  /**
   * Reads from an offset in bytes; answers how many there were.
   *
   * @throws {HostError} IO_ERROR when it cannot be read.
   */
  readAt(descriptor: Descriptor, offset: number, target: Uint8Array): number;
  /**
   * Writes at an offset in bytes, all of it. Memory that is cut off meanwhile may come back.
   *
   * @throws {HostError} IO_ERROR when it cannot be written.
   */
  writeAt(descriptor: Descriptor, offset: number, source: Uint8Array): void;
}

/** True for a host that can. */
export function hasContents<H extends Partial<ContentHost>>(host: H): host is H & ContentHost {
  return host.identify !== undefined;
}
