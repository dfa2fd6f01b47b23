import { SparseBytes } from './sparse-bytes.ts';
import { FsError } from './spec-errno.ts';

/** A range of a file that stands in a window. */
export interface LentRange {
  readonly start: number;
  readonly end: number;
  /** In the window: the range's length. */
  readonly bytes: Uint8Array;
  readonly writable: boolean;
}

/**
 * The bytes of a file, ranges of which may stand in a window. One that is to be written is nowhere else while it does: what
 * is read and written here is read and written there. One that is only to be read is a copy, so that nothing that is written
 * to it reaches the file; it is kept like the file.
 */
export class FileBytes extends SparseBytes {
  readonly #lent = new Set<LentRange>();

  /**
   * Puts a range into a window. Behind the end of the file there are zeros.
   *
   * @throws {FsError} EBUSY when a part of it is in a window to be written, or in any where this one is; ENOSPC when the file
   * has no room for all that may be written there.
   */
  lend(start: number, bytes: Uint8Array, writable: boolean): LentRange {
    const range = { start, end: start + bytes.length, bytes, writable };
    for (const other of this.#overlapping(range.start, range.end)) {
      if (writable || other.writable) throw FsError.of('EBUSY');
    }
    // What is written there must find room when it comes back.
    if (writable) super.allocate(start, Math.min(range.end, this.size));
    const count = super.read(start, bytes);
    bytes.fill(0, count);
    this.#lent.add(range);
    return range;
  }

  /** Takes a range back, with what was written to it. The window's bytes are what they are. */
  takeBack(range: LentRange): void {
    if (!this.#lent.delete(range)) return;
    const there = Math.min(range.end, this.size) - range.start;
    if (range.writable && there > 0) super.write(range.start, range.bytes.subarray(0, there));
  }

  override read(offset: number, target: Uint8Array): number {
    const count = super.read(offset, target);
    for (const { start, end, bytes, writable } of this.#overlapping(offset, offset + count)) {
      if (!writable) continue;
      const from = Math.max(start, offset);
      target.set(bytes.subarray(from - start, Math.min(end, offset + count) - start), from - offset);
    }
    return count;
  }

  override write(offset: number, source: Uint8Array): void {
    const { size } = this;
    const end = offset + source.length;
    this.#claim(size, end);
    super.write(offset, source);
    this.#zero(size, offset);
    for (const range of this.#overlapping(offset, end)) {
      const from = Math.max(range.start, offset);
      range.bytes.set(source.subarray(from - offset, Math.min(range.end, end) - offset), from - range.start);
    }
  }

  override setSize(size: number): void {
    const before = this.size;
    this.#claim(before, size);
    super.setSize(size);
    this.#zero(Math.min(before, size), Number.MAX_SAFE_INTEGER);
  }

  override clear(offset: number, end: number): void {
    super.clear(offset, end);
    // What is in a window keeps its room, unless it is cut off.
    if (end < Number.MAX_SAFE_INTEGER) this.#claimAgain(offset, end);
    this.#zero(offset, end);
  }

  #claimAgain(offset: number, end: number): void {
    for (const { start, end: behind, writable } of this.#overlapping(offset, Math.min(end, this.size))) {
      if (writable) super.allocate(Math.max(start, offset), Math.min(behind, end, this.size));
    }
  }

  #overlapping(start: number, end: number): LentRange[] {
    if (this.#lent.size === 0) return nothing;
    return [...this.#lent].filter((range) => range.start < end && start < range.end);
  }

  /** Makes room for what a file that grows has in a window. */
  #claim(size: number, grown: number): void {
    for (const { start, end, writable } of this.#overlapping(size, grown)) {
      if (writable) super.allocate(Math.max(start, size), Math.min(end, grown));
    }
  }

  #zero(start: number, end: number): void {
    for (const range of this.#overlapping(start, end)) {
      range.bytes.fill(0, Math.max(0, start - range.start), Math.min(range.end, end) - range.start);
    }
  }
}

const nothing: LentRange[] = [];
