import { PeerError } from '../errors.ts';
import type { Fields, Struct, StructValue } from '../spec/layout.ts';
import { Cursor } from './cursor.ts';

/** The largest variable tail that `struct` reads, in bytes: a driver must not make us allocate gigabytes. */
const maxTail = 2 ** 20;

/**
 * The device-readable part of a chain, blind to how the driver framed it. Numbers are little-endian; those of a
 * legacy driver have its guest's byte order, here and in structures. Everything here throws a PeerError
 * BAD_REQUEST when the chain is shorter than what is asked of it.
 */
export class ReadableCursor extends Cursor {
  get length(): number {
    return this.chain.readableLength;
  }

  protected get firstSpan(): number {
    return 0;
  }

  protected get stopSpan(): number {
    return this.chain.writableFrom;
  }

  u8(): number {
    if (!this.ready(1)) return this.gather(1).getUint8(0);
    const value = this.region.view.getUint8(this.at);
    this.advance(1);
    return value;
  }

  u16(): number {
    if (!this.ready(2)) return this.gather(2).getUint16(0, this.chain.little);
    const value = this.region.view.getUint16(this.at, this.chain.little);
    this.advance(2);
    return value;
  }

  u32(): number {
    if (!this.ready(4)) return this.gather(4).getUint32(0, this.chain.little);
    const value = this.region.view.getUint32(this.at, this.chain.little);
    this.advance(4);
    return value;
  }

  /** Two 32-bit halves joined; above 2^53 the number is not exact, and too large for any bound. */
  u64(): number {
    const first = this.u32();
    const second = this.u32();
    return this.chain.little ? second * 2 ** 32 + first : first * 2 ** 32 + second;
  }

  /** Copies `length` bytes. Bound it first: the driver may have given gigabytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    this.need(length);
    const copy = new Uint8Array(length);
    this.copyOut(copy, length);
    return copy;
  }

  /** Copies as many bytes as both have; returns how many. */
  readInto(target: Uint8Array): number {
    const count = Math.min(target.length, this.remaining);
    this.need(count);
    this.copyOut(target, count);
    return count;
  }

  /** Reads a structure; one with a variable tail takes all that remains, at most 1 MiB of it. */
  struct<F extends Fields>(layout: Struct<F>): StructValue<F> {
    const length = layout.tail === undefined ? layout.size : Math.max(layout.size, this.remaining);
    if (length > layout.size + maxTail) {
      throw new PeerError('BAD_REQUEST', `${layout.notation} of ${length} bytes`);
    }
    const copy = this.bytes(length);
    return layout.read(this.chain.viewOf?.(copy) ?? new DataView(copy.buffer));
  }
}
