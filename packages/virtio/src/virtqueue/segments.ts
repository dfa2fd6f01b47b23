import type { GuestMemory } from '../memory/guest-memory.ts';
import { nowhere, type Region } from '../memory/region.ts';

/** What can be wrong with an element of a buffer. */
export type ElementProblem = 'READABLE_AFTER_WRITABLE' | 'ADDRESS_OUT_OF_BOUNDS' | 'CHAIN_TOO_LARGE';

/** The most bytes that a chain may have (2.7.5.2). */
export const maxChainLength: number = 2 ** 32;

/** Elements kept by a chain that is not in use; the room that a longer one needed is let go. */
const retained = 256;

/**
 * The elements of one buffer, and the contiguous spans of memory that they are: numbers in typed arrays that
 * the next buffer uses again, so that a descriptor costs no object. A ring puts elements in as it reads them.
 * Then it has either seen for itself that they are sound, and says so by `accept`, or it asks `resolve`.
 */
export class Segments {
  /** Guest address, bytes, and nonzero for a device-writable one; three numbers for each element. */
  elements: Float64Array = new Float64Array(3 * 4);
  elementCount = 0;
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
   * Takes `count` elements that lie in one region, in order, and not longer than a chain may be. `readable`
   * counts their bytes before the first device-writable one, at `writableFrom`; that is -1 when there is none.
   */
  accept(region: Region, count: number, writableFrom: number, readable: number, total: number): void {
    if (this.region !== region) this.region = region;
    if (this.spans !== this.elements) this.spans = this.elements;
    this.#settle(count, count, writableFrom, readable, total);
  }

  /**
   * Checks `count` elements and finds their memory; says what is wrong with them, if anything. An element of
   * no bytes is legal, and its address means nothing.
   */
  resolve(memory: GuestMemory, count: number): ElementProblem | undefined {
    const { elements, regions } = this;
    let region = nowhere;
    let total = 0;
    let readable = 0;
    let writableFrom = -1;
    for (let i = 0; i < count; i++) {
      const address = elements[3 * i]!;
      const length = elements[3 * i + 1]!;
      if (elements[3 * i + 2] !== 0) {
        if (writableFrom < 0) {
          writableFrom = i;
          readable = total;
        }
      } else if (writableFrom >= 0) {
        return 'READABLE_AFTER_WRITABLE';
      }
      total += length;
      if (address < region.start || address + length > region.end) {
        if (length === 0) {
          regions[i] = nowhere;
          continue;
        }
        const found = memory.find(address, length);
        if (found === undefined) return this.#cut(memory, count);
        region = found;
      }
      if (regions[i] !== region) regions[i] = region;
    }
    if (total > maxChainLength) return 'CHAIN_TOO_LARGE';
    this.region = undefined;
    this.spans = elements;
    this.#settle(count, count, writableFrom, readable, total);
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
    this.elements = new Float64Array(3 * retained);
    this.spans = this.elements;
    this.regions.length = 0;
  }

  /** `resolve` for elements that span regions or translated pages. */
  #cut(memory: GuestMemory, count: number): ElementProblem | undefined {
    const { elements } = this;
    const spans: number[] = [];
    let writableFrom = -1;
    let total = 0;
    let readable = 0;
    this.regions.length = 0;
    for (let i = 0; i < count; i++) {
      const length = elements[3 * i + 1]!;
      const isWritable = elements[3 * i + 2] !== 0;
      if (!isWritable && writableFrom >= 0) return 'READABLE_AFTER_WRITABLE';
      if (isWritable && writableFrom < 0) writableFrom = this.regions.length;
      total += length;
      if (!isWritable) readable += length;
      if (total > maxChainLength) return 'CHAIN_TOO_LARGE';
      if (length === 0) {
        this.regions.push(nowhere);
        spans.push(0, 0, 0);
        continue;
      }
      const access = isWritable ? 'write' : 'read';
      const whole = memory.pieces(elements[3 * i]!, length, access, (region, offset, taken) => {
        this.regions.push(region);
        spans.push(region.start + offset, taken, 0);
      });
      if (!whole) return 'ADDRESS_OUT_OF_BOUNDS';
    }
    this.region = undefined;
    this.spans = Float64Array.from(spans);
    this.#settle(count, this.regions.length, writableFrom, readable, total);
    return undefined;
  }

  #settle(elements: number, spans: number, writableFrom: number, readable: number, total: number): void {
    this.elementCount = elements;
    this.spanCount = spans;
    this.writableFrom = writableFrom < 0 ? spans : writableFrom;
    this.readableLength = writableFrom < 0 ? total : readable;
    this.totalLength = total;
  }
}
