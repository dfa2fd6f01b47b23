import type { GuestMemory } from '../memory/guest-memory.ts';
import type { Region } from '../memory/region.ts';

/** Segments kept by a chain that is not in use; what a larger one needed is let go. */
const retainedCapacity = 256;

/** What can be wrong with an element of a buffer. */
export type ElementProblem = 'READABLE_AFTER_WRITABLE' | 'ADDRESS_OUT_OF_BOUNDS' | 'CHAIN_TOO_LARGE';

/** The most bytes that a chain may have (2.7.5.2). */
const maxChainLength = 2 ** 32;

/**
 * The contiguous pieces of guest memory that a chain is made of, device-readable ones first. Parallel arrays
 * that are used again by the next chain, so that a descriptor costs four stores and no object.
 */
export class Segments {
  readonly regions: Region[] = [];
  /** Bytes from the region's start. */
  offsets: Float64Array = new Float64Array(4);
  /** Bytes. */
  lengths: Float64Array = new Float64Array(4);
  /** The address that the driver gave: before a translation, if there is one. */
  addresses: Float64Array = new Float64Array(4);
  count = 0;
  /** Bytes in all. */
  readableLength = 0;
  writableLength = 0;
  /** The first segment that is device-writable; -1 until there is such an element. */
  #writableFrom = -1;

  /** The first segment that is device-writable; `count` when none is. */
  get writableFrom(): number {
    return this.#writableFrom < 0 ? this.count : this.#writableFrom;
  }

  /** Adds an element of a buffer, or says what is wrong with it. One of no bytes is legal and adds nothing. */
  add(memory: GuestMemory, address: number, length: number, isWritable: boolean): ElementProblem | undefined {
    if (isWritable) {
      if (this.#writableFrom < 0) this.#writableFrom = this.count;
      this.writableLength += length;
    } else {
      if (this.#writableFrom >= 0) return 'READABLE_AFTER_WRITABLE';
      this.readableLength += length;
    }
    if (this.readableLength + this.writableLength > maxChainLength) return 'CHAIN_TOO_LARGE';
    if (length === 0) return undefined;
    const region = memory.find(address, length);
    if (region === undefined) return this.#addPieces(memory, address, length, isWritable);
    const index = this.count;
    if (index === this.lengths.length) this.#resize(index * 2);
    this.regions[index] = region;
    this.offsets[index] = address - region.start;
    this.lengths[index] = length;
    this.addresses[index] = address;
    this.count = index + 1;
    return undefined;
  }

  /** Forgets everything. */
  clear(): void {
    this.count = 0;
    this.readableLength = 0;
    this.writableLength = 0;
    this.#writableFrom = -1;
    if (this.lengths.length > retainedCapacity) {
      this.regions.length = 0;
      this.#resize(retainedCapacity);
    }
  }

  /** An element that spans regions or translated pages. */
  #addPieces(
    memory: GuestMemory,
    address: number,
    length: number,
    isWritable: boolean,
  ): ElementProblem | undefined {
    let at = address;
    const whole = memory.pieces(address, length, isWritable ? 'write' : 'read', (region, offset, taken) => {
      const index = this.count++;
      if (index === this.lengths.length) this.#resize(index * 2);
      this.regions[index] = region;
      this.offsets[index] = offset;
      this.lengths[index] = taken;
      this.addresses[index] = at;
      at += taken;
    });
    return whole ? undefined : 'ADDRESS_OUT_OF_BOUNDS';
  }

  #resize(capacity: number): void {
    this.offsets = resized(this.offsets, capacity);
    this.lengths = resized(this.lengths, capacity);
    this.addresses = resized(this.addresses, capacity);
  }
}

function resized(old: Float64Array, capacity: number): Float64Array {
  const next = new Float64Array(capacity);
  next.set(old.subarray(0, capacity));
  return next;
}
