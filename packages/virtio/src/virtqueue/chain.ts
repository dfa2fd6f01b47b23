// The interface below is settled; the implementation is under way.
import type { Struct, Fields, StructValue } from '../spec/layout.ts';

/** What both cursors can tell. */
export interface Cursor {
  /** Bytes in all. */
  readonly length: number;
  /** Bytes from the start to the cursor. */
  readonly position: number;
  /** Bytes behind the cursor. */
  readonly remaining: number;
  /** Moves the cursor to an absolute position; at most `length`. */
  seek(position: number): void;
  /**
   * The next `length` bytes as views of guest memory, and moves behind them. The views are good until the
   * next `await`: engines move their memory.
   */
  slices(length: number): Uint8Array[];
}

/** The device-readable part of a chain, blind to how the driver framed it. Short chains throw PeerError BAD_REQUEST. */
export interface ReadableCursor extends Cursor {
  u8(): number;
  /** Little-endian. */
  u16(): number;
  u32(): number;
  /** Two 32-bit halves joined; above 2^53 the number is not exact, and too large for any bound. */
  u64(): number;
  /** Copies `length` bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer>;
  /** Copies as many bytes as both have; returns how many. */
  readInto(target: Uint8Array): number;
  struct<F extends Fields>(layout: Struct<F>): StructValue<F>;
}

/** The device-writable part of a chain. */
export interface WritableCursor extends Cursor {
  /** The used length: the highest position that was written. Whoever seeks over a gap fills it. */
  readonly written: number;
  u8(value: number): void;
  u16(value: number): void;
  u32(value: number): void;
  u64(value: number): void;
  /** Copies as many bytes as fit; returns how many. */
  write(source: Uint8Array): number;
  fill(value: number, length: number): void;
  struct<F extends Fields>(layout: Struct<F>, value: Partial<StructValue<F>>): void;
}

export interface Chain {
  readonly readable: ReadableCursor;
  readonly writable: WritableCursor;
  /** Head index (split) or Buffer ID (packed). */
  readonly id: number;
  /** False once completed, or dead after a reset. */
  readonly live: boolean;
}
