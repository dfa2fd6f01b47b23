import type { GuestMemory } from '../memory/guest-memory.ts';
import { nowhere, type Region } from '../memory/region.ts';

/** What can be wrong with an element of a buffer. */
export type ElementProblem = 'READABLE_AFTER_WRITABLE' | 'ADDRESS_OUT_OF_BOUNDS' | 'CHAIN_TOO_LARGE';

/** The most bytes that a chain may have (2.7.5.2). */
const maxChainLength = 2 ** 32;

/** Numbers that an element or a span takes: address, length, and (elements alone) whether it is writable. */
const stride = 3;

/** Elements kept by a chain that is not in use; the room that a longer one needed is let go. */
const retained = 256;

/**
 * The elements of one buffer, and the contiguous spans of memory that they are. Numbers in typed arrays that
 * the next buffer uses again, so that a descriptor costs no object. A ring puts elements in as it reads them,
 * `resolve` checks them all.
 */
export class Segments {
  /** Guest address, bytes, and nonzero for a device-writable one; three numbers for each element. */
  elements: Float64Array = new Float64Array(4 * stride);
  elementCount = 0;
  /** Likewise, with guest-physical addresses. The same array, unless an element had to be cut in pieces. */
  spans: Float64Array = this.elements;
  /** The region of each span. */
  readonly regions: Region[] = [];
  spanCount = 0;
  /** The first device-writable span; `spanCount` when there is none. */
  writableFrom = 0;
  /** Bytes. */
  readableLength = 0;
  writableLength = 0;

  /** Makes room for more elements; the array is another one then. */
  grow(): Float64Array {
    const larger = new Float64Array(2 * this.elements.length);
    larger.set(this.elements);
    this.elements = larger;
    return larger;
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
      const address = elements[stride * i]!;
      const length = elements[stride * i + 1]!;
      if (elements[stride * i + 2] !== 0) {
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
    this.elementCount = count;
    this.spans = elements;
    this.spanCount = count;
    this.writableFrom = writableFrom < 0 ? count : writableFrom;
    this.readableLength = writableFrom < 0 ? total : readable;
    this.writableLength = total - this.readableLength;
    return undefined;
  }

  /** Lets go of the room that a long buffer needed. */
  trim(): void {
    if (this.elements.length <= retained * stride && this.spans.length <= retained * stride) return;
    this.elements = new Float64Array(retained * stride);
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
      const length = elements[stride * i + 1]!;
      const isWritable = elements[stride * i + 2] !== 0;
      if (!isWritable && writableFrom >= 0) return 'READABLE_AFTER_WRITABLE';
      if (isWritable && writableFrom < 0) writableFrom = this.regions.length;
      total += length;
      if (!isWritable) readable += length;
      if (total > maxChainLength) return 'CHAIN_TOO_LARGE';
      const access = isWritable ? 'write' : 'read';
      const whole = memory.pieces(elements[stride * i]!, length, access, (region, offset, taken) => {
        this.regions.push(region);
        spans.push(region.start + offset, taken, 0);
      });
      if (!whole) return 'ADDRESS_OUT_OF_BOUNDS';
    }
    this.elementCount = count;
    this.spans = Float64Array.from(spans);
    this.spanCount = this.regions.length;
    this.writableFrom = writableFrom < 0 ? this.spanCount : writableFrom;
    this.readableLength = readable;
    this.writableLength = total - readable;
    return undefined;
  }
}
