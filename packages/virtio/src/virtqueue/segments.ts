import type { GuestMemory } from '../memory/guest-memory.ts';
import { nowhere, type Region } from '../memory/region.ts';

/** What can be wrong with an element of a buffer. */
export type ElementProblem = 'ADDRESS_OUT_OF_BOUNDS' | 'CHAIN_TOO_LARGE';

/** The most bytes that a chain may have (2.7.5.2). */
export const maxChainLength: number = 2 ** 32;

/** Elements kept by a chain that is not in use; the room that a longer one needed is let go. */
const retained = 256;

/**
 * The elements of one buffer, device-readable ones first, and the contiguous spans of memory that they are:
 * numbers in typed arrays that the next buffer uses again, so that a descriptor costs no object. A ring puts
 * elements in as it reads them. Then it has either seen for itself that all are memory, and says so by
 * `accept`, or it asks `resolve`.
 */
export class Segments {
  /** Guest address and bytes; two numbers for each element. */
  elements: Float64Array = new Float64Array(2 * 4);
  elementCount = 0;
  /** How many elements are device-readable. */
  readableCount = 0;
  /** Likewise, with guest-physical addresses. The same array, unless an element had to be cut in pieces. */
  spans: Float64Array = this.elements;
  spanCount = 0;
  /** The region of all spans; where there is none, `regions` tells that of each. */
  region: Region | undefined = undefined;
  readonly regions: Region[] = [];
  /** The first device-writable span; `spanCount` when there is none. */
  writableFrom = 0;
  /** Bytes. */
  totalLength = 0;
  readableLength = 0;

  /** Makes room for more elements; the array is another one then. */
  grow(): Float64Array {
    const larger = new Float64Array(2 * this.elements.length);
    larger.set(this.elements);
    this.elements = larger;
    return larger;
  }

  /**
   * Takes `count` elements that lie in one region, and are not longer than a chain may be: `readable` bytes in
   * the `readableCount` first ones, `total` bytes in all.
   */
  accept(region: Region, count: number, readableCount: number, readable: number, total: number): void {
    if (this.region !== region) this.region = region;
    if (this.spans !== this.elements) this.spans = this.elements;
    this.elementCount = count;
    this.readableCount = readableCount;
    this.spanCount = count;
    this.writableFrom = readableCount;
    this.readableLength = readable;
    this.totalLength = total;
  }

  /**
   * Finds the memory of `count` elements, described as for `accept`; says what is wrong with them, if anything.
   * An element of no bytes is legal, and its address means nothing.
   */
  resolve(
    memory: GuestMemory,
    count: number,
    readableCount: number,
    readable: number,
    total: number,
  ): ElementProblem | undefined {
    if (total > maxChainLength) return 'CHAIN_TOO_LARGE';
    const { elements, regions } = this;
    this.elementCount = count;
    this.readableCount = readableCount;
    this.readableLength = readable;
    this.totalLength = total;
    this.region = undefined;
    let region = nowhere;
    for (let i = 0; i < count; i++) {
      const address = elements[2 * i]!;
      const length = elements[2 * i + 1]!;
      if (address < region.start || address + length > region.end) {
        if (length === 0) {
          regions[i] = nowhere;
          continue;
        }
        const found = memory.find(address, length);
        if (found === undefined) return this.#cut(memory);
        region = found;
      }
      if (regions[i] !== region) regions[i] = region;
    }
    this.spans = elements;
    this.spanCount = count;
    this.writableFrom = readableCount;
    return undefined;
  }

  /** Where the next buffer is likely to lie, too: a region whose addresses are the driver's own. */
  get likelyRegion(): Region {
    return this.spans === this.elements ? (this.regions[0] ?? nowhere) : nowhere;
  }

  /** Lets go of the room that a long buffer needed. */
  trim(): void {
    if (this.spanCount > retained) this.#shrink();
  }

  #shrink(): void {
    this.elements = new Float64Array(2 * retained);
    this.spans = this.elements;
    this.regions.length = 0;
  }

  /** `resolve` for elements that span regions or translated pages. */
  #cut(memory: GuestMemory): ElementProblem | undefined {
    const { elements, regions } = this;
    const spans: number[] = [];
    regions.length = 0;
    for (let i = 0; i < this.elementCount; i++) {
      if (i === this.readableCount) this.writableFrom = regions.length;
      const length = elements[2 * i + 1]!;
      if (length === 0) {
        regions.push(nowhere);
        spans.push(0, 0);
        continue;
      }
      const access = i < this.readableCount ? 'read' : 'write';
      const whole = memory.pieces(elements[2 * i]!, length, access, (region, offset, taken) => {
        regions.push(region);
        spans.push(region.start + offset, taken);
      });
      if (!whole) return 'ADDRESS_OUT_OF_BOUNDS';
    }
    this.spans = Float64Array.from(spans);
    this.spanCount = regions.length;
    if (this.readableCount === this.elementCount) this.writableFrom = this.spanCount;
    return undefined;
  }
}
