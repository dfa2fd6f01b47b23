import type { PieceSink } from '../memory/guest-memory.ts';
import type { Fields, Struct, StructValue } from '../spec/layout.ts';
import { Cursor } from './cursor.ts';

/**
 * The device-writable part of a chain, blind to how the driver framed it. Numbers are little-endian; for a
 * legacy driver they have its guest's byte order, here and in structures. What must fit and does not throws
 * a PeerError BAD_REQUEST: the driver gave too few bytes.
 */
export class WritableCursor extends Cursor {
  get length(): number {
    return this.chain.totalLength - this.chain.readableLength;
  }

  /** The used length: the highest position that was written. Whoever seeks over a gap fills it. */
  get written(): number {
    return this.chain.written;
  }

  protected get firstSpan(): number {
    return this.chain.writableFrom;
  }

  protected get stopSpan(): number {
    return this.chain.spanCount;
  }

  u8(value: number): void {
    if (this.ready(1)) {
      this.region.view.setUint8(this.at, value);
      this.advance(1);
    } else {
      this.scratchFor(1).setUint8(0, value);
      this.scatter(1);
    }
    this.#mark();
  }

  u16(value: number): void {
    if (this.ready(2)) {
      this.region.view.setUint16(this.at, value, this.chain.little);
      this.advance(2);
    } else {
      this.scratchFor(2).setUint16(0, value, this.chain.little);
      this.scatter(2);
    }
    this.#mark();
  }

  u32(value: number): void {
    if (this.ready(4)) {
      this.region.view.setUint32(this.at, value, this.chain.little);
      this.advance(4);
    } else {
      this.scratchFor(4).setUint32(0, value, this.chain.little);
      this.scatter(4);
    }
    this.#mark();
  }

  /** A whole number below 2^53. */
  u64(value: number): void {
    this.need(8);
    const low = value >>> 0;
    const high = Math.floor(value / 2 ** 32);
    this.u32(this.chain.little ? low : high);
    this.u32(this.chain.little ? high : low);
  }

  /** Copies as many bytes as fit; returns how many. */
  write(source: Uint8Array): number {
    const count = Math.min(source.length, this.remaining);
    this.need(count);
    this.copyIn(source, count);
    this.#mark();
    return count;
  }

  /** Sets the next `length` bytes to `value`. */
  fill(value: number, length: number): void {
    this.need(length);
    let left = length;
    while (left > 0) {
      const run = this.piece(left);
      this.region.bytes.fill(value, this.at, this.at + run);
      this.advance(run);
      left -= run;
    }
    this.#mark();
  }

  /** Writes a structure, all of it or nothing; fields that are not given are 0. */
  struct<F extends Fields>(layout: Struct<F>, value: Partial<StructValue<F>>): void {
    const encoded = layout.encode(value);
    const { viewOf } = this.chain;
    if (viewOf !== undefined) layout.write(viewOf(encoded), 0, value);
    this.need(encoded.length);
    this.write(encoded);
  }

  /** The next `length` bytes to write in place; they count as written. */
  override slices(length: number): Uint8Array[] {
    const views = super.slices(length);
    this.#mark();
    return views;
  }

  /** @internal Gives each contiguous piece up to the used length in turn; the cursor ends behind them. */
  writtenPieces(sink: PieceSink): void {
    this.seek(0);
    let left = this.written;
    while (left > 0) {
      const run = this.piece(left);
      sink(this.region, this.at, run);
      this.advance(run);
      left -= run;
    }
  }

  #mark(): void {
    const position = this.position;
    if (position > this.chain.written) this.chain.written = position;
  }
}
