import { UsageError } from '../errors.ts';
import type { Allocator } from '../memory/allocator.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';

/** The indirect tables of one driver queue: one for each buffer id, kept for the next buffer of that id. */
export class DriverTables {
  /** The table that `open` gave: its descriptors start at `base` in `view`. */
  view: DataView = new DataView(new ArrayBuffer(0));
  base = 0;
  address = 0;
  readonly #memory: GuestMemory;
  readonly #allocator: Allocator;
  readonly #addresses: number[];
  readonly #capacities: Uint16Array;

  constructor(memory: GuestMemory, allocator: Allocator, size: number) {
    this.#memory = memory;
    this.#allocator = allocator;
    this.#addresses = Array.from({ length: size }, () => 0);
    this.#capacities = new Uint16Array(size);
  }

  /** A table of `count` descriptors for a buffer; false when no memory is left for it. */
  open(id: number, count: number): boolean {
    if (count > this.#capacities[id]! && !this.#grow(id, count)) return false;
    this.address = this.#addresses[id]!;
    const region = this.#memory.find(this.address, 16 * count);
    if (region === undefined) return false;
    this.view = region.view;
    this.base = this.address - region.start;
    return true;
  }

  close(): void {
    for (const [id, capacity] of this.#capacities.entries()) {
      if (capacity > 0) this.#allocator.free(this.#addresses[id]!);
    }
    this.#capacities.fill(0);
  }

  #grow(id: number, count: number): boolean {
    if (this.#capacities[id]! > 0) this.#allocator.free(this.#addresses[id]!);
    this.#capacities[id] = 0;
    const capacity = Math.max(4, count);
    try {
      this.#addresses[id] = this.#allocator.allocate(16 * capacity, 16);
    } catch (error) {
      if (error instanceof UsageError && error.code === 'OUT_OF_MEMORY') return false;
      throw error;
    }
    this.#capacities[id] = capacity;
    return true;
  }
}
