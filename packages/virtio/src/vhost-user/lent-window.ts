import type { ContentHost, Descriptor } from '../channel/descriptors.ts';
import { HostError, UsageError, VirtioError } from '../errors.ts';
import type { BackEndRequests } from './back-end-requests.ts';
import { limits, shmemMapFlags, shmemPage } from './protocol.ts';

/** Memory that a front end is to show in a window. All numbers are bytes, and multiples of 4096. */
export interface WindowMapping {
  /** Where in the window. */
  readonly offset: number;
  readonly length: number;
  /** Stays the caller's. */
  readonly descriptor: Descriptor;
  /** Where in what the descriptor stands for. */
  readonly from: number;
  readonly writable: boolean;
}

/** What stands at an offset of the window, or is about to. */
interface Shown {
  readonly length: number;
  readonly identity: string | undefined;
}

/** What a window is given of a connection. */
export interface WindowFrontEnd {
  readonly requests: BackEndRequests;
  readonly host: ContentHost;
}

/**
 * A shared memory region (2.10) of a device that is lent by vhost-user. There is no memory of this process behind it: the
 * front end maps what it is given descriptors of. One window belongs to one device, and has a front end only while a
 * connection has negotiated SHMEM.
 */
export class LentWindow {
  readonly id: number;
  /** Bytes. */
  readonly length: number;
  readonly #shown = new Map<number, Shown>();
  #front: WindowFrontEnd | undefined;

  /** @throws {UsageError} BAD_ARGUMENT for an id above 255, or a length that is no number of pages. */
  constructor(id: number, length: number) {
    const isId = Number.isInteger(id) && id >= 0 && id < limits.sharedMemoryRegions;
    if (!isId || !isPages(length) || length === 0) {
      throw new UsageError('BAD_ARGUMENT', `shared memory ${id} cannot have ${length} bytes: give pages`);
    }
    this.id = id;
    this.length = length;
  }

  /** True while there is a front end that maps. */
  get attached(): boolean {
    return this.#front !== undefined;
  }

  /** True when one `map` has put so many bytes there, and nothing took them away. */
  has(offset: number, length: number): boolean {
    return this.#shown.get(offset)?.length === length;
  }

  /** Mappings that there are. */
  get mappings(): number {
    return this.#shown.size;
  }

  /**
   * Has the front end map memory where nothing is mapped.
   *
   * @throws {UsageError} BAD_ARGUMENT for a mapping that cannot be, BAD_STATE when something is there.
   * @throws {HostError} DEVICE_GONE without a front end, NO_SPACE for one mapping too many.
   * @throws {PeerError} COMMAND_FAILED when the front end refuses, where it says so.
   */
  async map({ offset, length, descriptor, from, writable }: WindowMapping): Promise<void> {
    const { requests, host } = this.#checkFront();
    const isWithin = isPages(offset) && isPages(length) && length > 0 && offset + length <= this.length;
    if (!isWithin || !isPages(from)) {
      throw new UsageError('BAD_ARGUMENT', `${length} bytes at ${offset} of the window cannot be mapped`);
    }
    for (const [at, other] of this.#shown) {
      if (offset < at + other.length && at < offset + length) {
        throw new UsageError('BAD_STATE', `something is mapped at ${at} of the window: unmap it first`);
      }
    }
    if (this.#shown.size >= limits.sharedMemoryMappings) {
      throw new HostError('NO_SPACE', `there are ${this.#shown.size} mappings, and no more are made`);
    }
    // From here on, since the front end may lend it back before it says that it is mapped.
    const shown: Shown = { length, identity: host.identify(descriptor) };
    this.#shown.set(offset, shown);
    const flags = writable ? BigInt(shmemMapFlags.READ_WRITE) : 0n;
    const place = { shmid: this.id, shm_offset: BigInt(offset), len: BigInt(length) };
    try {
      await requests.tell('SHMEM_MAP', { ...place, fd_offset: BigInt(from), flags }, [descriptor]);
    } catch (error) {
      if (this.#shown.get(offset) === shown) this.#shown.delete(offset);
      throw error;
    }
    // A reset came in between, and the front end may have mapped it behind that.
    if (this.#shown.get(offset) !== shown) {
      void requests.tell('SHMEM_UNMAP', place).catch(quietly);
      throw new HostError('DEVICE_GONE', 'the device was reset while something was mapped');
    }
  }

  /**
   * Has the front end take away what one `map` put there.
   *
   * @throws {UsageError} BAD_ARGUMENT when there is no such mapping.
   * @throws {HostError} DEVICE_GONE without a front end.
   * @throws {PeerError} COMMAND_FAILED when the front end refuses, where it says so.
   */
  async unmap(offset: number, length: number): Promise<void> {
    const { requests } = this.#checkFront();
    const shown = this.#shown.get(offset);
    if (shown?.length !== length) {
      throw new UsageError('BAD_ARGUMENT', `no mapping has ${length} bytes at ${offset} of the window`);
    }
    const place = { shmid: this.id, shm_offset: BigInt(offset), len: BigInt(length) };
    await requests.tell('SHMEM_UNMAP', place);
    if (this.#shown.get(offset) === shown) this.#shown.delete(offset);
  }

  /** The device is reset: a front end takes all mappings away by itself then. */
  reset(): void {
    this.#shown.clear();
  }

  /** @internal True for memory that is shown here: it can be cut off, and is not to be touched. */
  shows(identity: string): boolean {
    for (const shown of this.#shown.values()) if (shown.identity === identity) return true;
    return false;
  }

  /** @internal A connection has come, or gone; with it all mappings. */
  attach(front: WindowFrontEnd | undefined): void {
    this.#front = front;
    this.#shown.clear();
  }

  #checkFront(): WindowFrontEnd {
    if (this.#front !== undefined) return this.#front;
    throw new HostError('DEVICE_GONE', 'there is no front end that maps shared memory');
  }
}

const isPages = (bytes: number): boolean =>
  Number.isSafeInteger(bytes) && bytes >= 0 && bytes % shmemPage === 0;

/** The front end may have taken it away already. */
function quietly(error: unknown): void {
  if (!(error instanceof VirtioError)) throw error;
}
