import { Allocator } from '../memory/allocator.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import type { Region } from '../memory/region.ts';
import type { Descriptor, DescriptorHost, MappedMemory } from './descriptors.ts';

/** Where memory of one's own begins unless told: address 0 stays free, since drivers take it for "none". */
const defaultStart = 4096;

/** A range of addresses, and the memory behind it: from the start of what its descriptor stands for. */
export interface SharedRange {
  readonly address: number;
  /** Bytes. */
  readonly size: number;
  readonly descriptor: Descriptor;
}

/** A driver's memory, and what a device in another process must be given of it. */
export interface DriverMemory {
  readonly memory: GuestMemory;
  /** The part of it that is the driver's to give. */
  readonly allocator: Allocator;
  /** The descriptors stay their owner's. */
  readonly ranges: readonly SharedRange[];
}

/** Memory of this process that others can be given by its descriptor, as a driver's memory must be. */
export class SharedMemory implements DriverMemory {
  readonly memory: GuestMemory;
  /** All of it is there to be given. */
  readonly allocator: Allocator;
  /** One; its descriptor is open until `close`. */
  readonly ranges: readonly SharedRange[];
  readonly #mapping: MappedMemory;
  readonly #regions: readonly Region[];

  /**
   * `length` bytes, at the address 4096 unless told.
   *
   * @throws {HostError} NO_SPACE or IO_ERROR when there are none.
   */
  constructor(host: DescriptorHost, length: number, start = defaultStart) {
    const descriptor = host.createMemory(length);
    try {
      this.#mapping = host.map(descriptor, 0, length);
    } catch (error) {
      descriptor.close();
      throw error;
    }
    this.ranges = [{ address: start, size: length, descriptor }];
    const memory = new GuestMemory();
    let at = start;
    this.#regions = this.#mapping.pieces.map((piece) => {
      const region = memory.addRegion(at, piece, { pinned: true, shared: true });
      at = region.end;
      return region;
    });
    this.memory = memory;
    this.allocator = new Allocator(start, length);
  }

  /** Gives it back. Whoever else has it mapped keeps it until they let go. */
  close(): void {
    for (const region of this.#regions) if (!region.removed) this.memory.removeRegion(region);
    this.#mapping.close();
    for (const { descriptor } of this.ranges) descriptor.close();
  }
}
