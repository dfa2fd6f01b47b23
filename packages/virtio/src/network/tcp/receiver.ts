import type { Budget } from './budget.ts';
import type { Chunks } from './chunks.ts';
import { mostScale } from './options.ts';
import { ReceiveQueue } from './receive-queue.ts';

/** Ranges behind a gap that are kept; what would make one more is dropped, and comes again. */
const mostRanges = 128;

/** The window that a connection begins with, and what it may always have, whatever others have. */
const firstWindow = 65_535;
export const leastWindow = 4096;

/** Bytes that came, behind some that did not. */
interface Range {
  start: number;
  end: number;
  /** The larger, the later did something come into it. */
  touched: number;
}

/**
 * What comes from the peer: what is acknowledged, what waits behind a gap, and how much more may come. All are positions in
 * the stream: 0 is the peer's SYN, 1 its first byte.
 */
export class Receiver {
  /** The peer's first sequence number. */
  first = 0;
  /** The next byte that is missing: RCV.NXT. */
  next = 1;
  /** The byte behind the last that the peer was ever told it may send. It never goes back. */
  edge = 1;
  /** Where the peer's FIN is; -1 while it has not come. */
  finAt = -1;
  /** The reader wants nothing more. */
  closed = false;
  readonly queue: ReceiveQueue;
  /** By how many bits our windows are shifted; 0 when the peer does not scale. */
  shift = 0;
  /** Bytes in a full segment of the peer's, as far as we asked for it. */
  readonly segment: number;
  /** A range that came twice, for the next acknowledgment to tell (RFC 2883); nothing when both are equal. */
  duplicateStart = 0;
  duplicateEnd = 0;
  readonly #ranges: Range[] = [];
  readonly #budget: Budget;
  readonly #most: number;
  /** How far the window may reach, for now. It grows with the reader's pace. */
  #size: number;
  #touches = 0;
  /** Where the reader was when the window grew last. */
  #grownAt = 1;
  #released = false;
  /** The promise that the budget knows of. */
  #promised = 0;

  /** @param most bytes that may wait for the reader; `segment` bytes in a full segment */
  constructor(most: number, segment: number, chunks: Chunks, budget: Budget) {
    this.queue = new ReceiveQueue(chunks);
    this.segment = segment;
    this.#most = most;
    this.#size = Math.min(firstWindow, most);
    this.#budget = budget;
  }

  /** The shift by which the largest window fits into 16 bits. */
  static scaleFor(most: number): number {
    let shift = 0;
    while (shift < mostScale && 65_535 * 2 ** shift < most) shift++;
    return shift;
  }

  /** The position of a sequence number, near to what is expected. */
  position(sequence: number): number {
    return this.next + ((sequence - this.sequence(this.next)) | 0);
  }

  /** The sequence number of a position. */
  sequence(position: number): number {
    return (this.first + position) | 0;
  }

  /** Bytes that wait for the reader. */
  get unread(): number {
    return Math.min(this.next, this.finAt < 0 ? this.next : this.finAt) - this.queue.begin;
  }

  /** Something waits behind a gap. */
  get hasGap(): boolean {
    return this.#ranges.length > 0;
  }

  /** True when the peer has sent all, and all of it came. */
  get finished(): boolean {
    return this.finAt >= 0 && this.next > this.finAt;
  }

  /**
   * Takes bytes that lie between `next` and `edge`, and copies those that are not there yet: of two that differ, the first
   * that came counts. False when they would make a range too many.
   */
  take(position: number, bytes: Uint8Array, at: number, length: number): boolean {
    const end = position + length;
    const ranges = this.#ranges;
    let index = 0;
    while (index < ranges.length && ranges[index]!.end < position) index++;
    const touches = index < ranges.length && ranges[index]!.start <= end;
    if (position > this.next && !touches && ranges.length >= mostRanges) return false;
    let from = position;
    for (let i = index; from < end; i++) {
      const range = ranges[i];
      const stop = range === undefined ? end : Math.min(range.start, end);
      if (stop > from) this.queue.write(from, bytes, at + from - position, stop - from);
      if (range === undefined) break;
      from = Math.max(from, range.end);
    }
    this.#join(index, position, end);
    return true;
  }

  /** Bytes came in order while nothing waited, and went to the reader at once. */
  pass(length: number): void {
    this.next += length;
    this.queue.pass(this.next);
  }

  /** Takes down where the peer's stream ends, unless that cannot be: outside of the window, or before what came. */
  noteFin(at: number): void {
    if (this.finAt >= 0 || at < this.next || at > this.edge) return;
    const last = this.#ranges.at(-1);
    if (last === undefined || last.end <= at) this.finAt = at;
  }

  /** The position behind the FIN is acknowledged when all before it is there. True when that is now. */
  finish(): boolean {
    if (this.next !== this.finAt) return false;
    this.next++;
    return true;
  }

  /** The next bytes for the reader, as many as lie together. */
  peek(): Uint8Array<ArrayBuffer> {
    return this.queue.peek(this.queue.begin + this.unread);
  }

  /** The reader read so many bytes. */
  read(count: number, keeps: boolean): void {
    this.queue.took(count, this.#ranges.at(-1)?.end ?? this.queue.begin + this.unread, keeps);
  }

  /**
   * Moves the edge as far as memory allows, and grows the window of a reader who keeps up: each time a whole window was
   * read, it doubles.
   */
  open(): void {
    if (this.#released) return;
    if (this.queue.begin - this.#grownAt >= this.#size) {
      this.#grownAt = this.queue.begin;
      if (this.#size < this.#most && this.unread * 4 <= this.#size) {
        this.#size = Math.min(2 * this.#size, this.#most);
      }
    }
    const size = this.#reach;
    const gain = this.queue.begin + size - this.edge;
    // Not by crumbs (RFC 9293, 3.8.6.2.2).
    if (gain >= Math.min(size / 2, this.segment)) this.edge += gain;
    this.#promise(this.edge - this.queue.begin);
  }

  /** True when the edge could move by as much as the peer may still send, and by more than crumbs: it is to be told. */
  get updateDue(): boolean {
    const size = this.#reach;
    const gain = this.queue.begin + size - this.edge;
    return gain >= Math.max(this.edge - this.next, Math.min(size / 2, this.segment));
  }

  /** How far the window may reach from what was read: as far as the reader's pace and the memory of all allow. */
  get #reach(): number {
    const free = this.#budget.free + this.#promised;
    return Math.min(this.#size, Math.max(free, leastWindow), 65_535 * 2 ** this.shift);
  }

  /** The connection is over: nothing more is promised. What was not read can still be. */
  release(): void {
    this.#promise(0);
    this.#released = true;
    this.#ranges.length = 0;
  }

  /** What was not read is not wanted. */
  discard(): void {
    const end = this.queue.begin + this.unread;
    this.queue.clear();
    this.queue.pass(end);
  }

  /** How many blocks {@link sack} has. */
  sackBlocks(most: number): number {
    return Math.min(this.#ranges.length + (this.duplicateEnd > this.duplicateStart ? 1 : 0), most);
  }

  /**
   * The blocks that the next acknowledgment tells: the range that came twice, then those in which something came last, the
   * latest first (RFC 2018, 4).
   *
   * @param most blocks
   * @returns how many there are, in `blocks`
   */
  sack(blocks: Int32Array, most: number): number {
    let count = 0;
    if (this.duplicateEnd > this.duplicateStart) {
      blocks[0] = this.sequence(this.duplicateStart);
      blocks[1] = this.sequence(this.duplicateEnd);
      count = 1;
      this.duplicateStart = this.duplicateEnd = 0;
    }
    let before = Number.MAX_SAFE_INTEGER;
    while (count < most) {
      let latest: Range | undefined;
      for (const range of this.#ranges) {
        if (range.touched < before && (latest === undefined || range.touched > latest.touched))
          latest = range;
      }
      if (latest === undefined) break;
      before = latest.touched;
      blocks[2 * count] = this.sequence(latest.start);
      blocks[2 * count + 1] = this.sequence(latest.end);
      count++;
    }
    return count;
  }

  #join(index: number, position: number, end: number): void {
    const ranges = this.#ranges;
    let from = position;
    let to = end;
    let last = index;
    while (last < ranges.length && ranges[last]!.start <= to) {
      from = Math.min(from, ranges[last]!.start);
      to = Math.max(to, ranges[last]!.end);
      last++;
    }
    if (from <= this.next) {
      this.next = Math.max(this.next, to);
      ranges.splice(index, last - index);
    } else if (last === index) {
      ranges.splice(index, 0, { start: from, end: to, touched: ++this.#touches });
    } else {
      const range = ranges[index]!;
      range.start = from;
      range.end = to;
      range.touched = ++this.#touches;
      if (last - index > 1) ranges.splice(index + 1, last - index - 1);
    }
  }

  #promise(bytes: number): void {
    this.#budget.promise(bytes - this.#promised);
    this.#promised = bytes;
  }
}
