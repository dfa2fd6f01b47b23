import type { ContentHost, Descriptor } from '../channel/descriptors.ts';
import { HostError } from '../errors.ts';
import type { StructValue } from '../spec/layout.ts';
import { bad } from './message-stream.ts';
import type { VhostUserMMap, VhostUserShMemConfig } from './payloads.ts';
import { limits, shmemMapFlags, shmemPage } from './protocol.ts';

type MappingMessage = StructValue<(typeof VhostUserMMap)['codecs']>;
type SizesMessage = StructValue<(typeof VhostUserShMemConfig)['codecs']>;

interface Mapping {
  readonly offset: number;
  readonly length: number;
  readonly from: number;
  readonly writable: boolean;
  readonly descriptor: Descriptor;
}

/**
 * A shared memory region (2.10) of a device behind a back end. What the back end maps into it is read and written by its
 * descriptor, never touched: memory that is cut off beneath it is an error then, where it would end the process.
 */
export class FrontEndWindow {
  readonly id: number;
  /** Bytes. */
  readonly length: number;
  readonly #host: ContentHost;
  readonly #mappings: Mapping[] = [];

  /** @internal */
  constructor(id: number, length: number, host: ContentHost) {
    this.id = id;
    this.length = length;
    this.#host = host;
  }

  /** Mappings that there are. */
  get mappings(): number {
    return this.#mappings.length;
  }

  /**
   * Reads from an offset in bytes.
   *
   * @throws {HostError} IO_ERROR where nothing is mapped, or what is mapped has been cut off.
   */
  read(offset: number, target: Uint8Array): void {
    for (let done = 0; done < target.length; ) {
      const { mapping, within, length } = this.#at(offset + done, target.length - done);
      const part = target.subarray(done, done + length);
      const count = this.#host.readAt(mapping.descriptor, mapping.from + within, part);
      if (count < length) throw new HostError('IO_ERROR', 'what is mapped there has been cut off');
      done += length;
    }
  }

  /**
   * Writes at an offset in bytes.
   *
   * @throws {HostError} IO_ERROR where nothing is mapped, or it is mapped to be read.
   */
  write(offset: number, source: Uint8Array): void {
    for (let done = 0; done < source.length; ) {
      const { mapping, within, length } = this.#at(offset + done, source.length - done);
      if (!mapping.writable) throw new HostError('IO_ERROR', 'what is mapped there is only to be read');
      this.#host.writeAt(mapping.descriptor, mapping.from + within, source.subarray(done, done + length));
      done += length;
    }
  }

  /** @internal False when it cannot be. The descriptor stays the caller's. */
  map(of: MappingMessage, descriptor: Descriptor): boolean {
    const place = this.#place(of);
    if (place === undefined || of.fd_offset % BigInt(shmemPage) !== 0n || of.fd_offset + of.len > mostOffset)
      return false;
    if ((of.flags & ~BigInt(shmemMapFlags.READ_WRITE)) !== 0n) return false;
    const { offset, length } = place;
    const overlaps = this.#mappings.some(
      (other) => offset < other.offset + other.length && other.offset < offset + length,
    );
    if (overlaps || this.#mappings.length >= limits.sharedMemoryMappings) return false;
    // What has no contents of its own, as a pipe, could be waited for without end.
    if (this.#host.identify(descriptor) === undefined) return false;
    this.#mappings.push({
      ...{ offset, length, from: Number(of.fd_offset) },
      writable: of.flags !== 0n,
      descriptor: this.#host.duplicate(descriptor),
    });
    return true;
  }

  /** @internal False when there is no such mapping. */
  unmap(of: MappingMessage): boolean {
    const place = this.#place(of);
    const index = this.#mappings.findIndex(
      ({ offset, length }) => offset === place?.offset && length === place.length,
    );
    const [mapping] = index < 0 ? [] : this.#mappings.splice(index, 1);
    mapping?.descriptor.close();
    return mapping !== undefined;
  }

  /** @internal All of it is gone: with a reset, or with the connection. */
  clear(): void {
    for (const { descriptor } of this.#mappings.splice(0)) descriptor.close();
  }

  #place({
    shm_offset,
    len,
  }: MappingMessage): { readonly offset: number; readonly length: number } | undefined {
    const page = BigInt(shmemPage);
    if (len === 0n || len % page !== 0n || shm_offset % page !== 0n) return undefined;
    if (shm_offset + len > BigInt(this.length)) return undefined;
    return { offset: Number(shm_offset), length: Number(len) };
  }

  #at(offset: number, most: number): { mapping: Mapping; within: number; length: number } {
    const mapping = this.#mappings.find((one) => offset >= one.offset && offset < one.offset + one.length);
    if (mapping === undefined)
      throw new HostError('IO_ERROR', `nothing is mapped at ${offset} of the window`);
    const within = offset - mapping.offset;
    return { mapping, within, length: Math.min(most, mapping.length - within) };
  }
}

/** Offsets that a number holds. */
const mostOffset = 2n ** 53n;

/**
 * The regions that a back end says it has, by id.
 *
 * @throws {PeerError} BAD_MESSAGE for sizes that cannot be.
 */
export function windowsOf(
  { nregions, memory_sizes }: SizesMessage,
  host: ContentHost,
): Map<number, FrontEndWindow> {
  if (nregions > limits.sharedMemoryRegions) throw bad(`there are ${nregions} shared memory regions`);
  const windows = new Map<number, FrontEndWindow>();
  for (const [id, size] of memory_sizes.entries()) {
    if (size === 0n) continue;
    if (size % BigInt(shmemPage) !== 0n || size > mostOffset) {
      throw bad(`shared memory region ${id} has ${size} bytes`);
    }
    windows.set(id, new FrontEndWindow(id, Number(size), host));
  }
  return windows;
}
