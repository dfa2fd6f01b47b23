import type { Chunks } from './chunks.ts';

interface Chunk {
  readonly start: number;
  readonly end: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Somebody may look at bytes of it for ever. */
  shared: boolean;
}

const none = new Uint8Array();

/**
 * The bytes that came and were not read, at their positions in the stream, of which the first is 1. Those that come out of
 * order are put where they belong, so that each is copied once; what lies between costs memory, no more than the window.
 */
export class ReceiveQueue {
  readonly #pool: Chunks;
  readonly #chunks: Chunk[] = [];
  /** Where memory ends. */
  #end = 1;
  /** The next byte that is read. */
  begin = 1;

  constructor(pool: Chunks) {
    this.#pool = pool;
  }

  /** Puts bytes at their position. */
  write(position: number, bytes: Uint8Array, at: number, length: number): void {
    const stop = position + length;
    while (this.#end < stop) {
      const bytes = this.#pool.take(stop - this.#end);
      this.#chunks.push({ start: this.#end, end: this.#end + bytes.length, bytes, shared: false });
      this.#end += bytes.length;
    }
    for (let i = this.#chunks.length - 1, to = stop; to > position; i--) {
      const chunk = this.#chunks[i]!;
      if (chunk.start >= to) continue;
      const from = Math.max(position, chunk.start);
      const first = at + from - position;
      chunk.bytes.set(bytes.subarray(first, first + to - from), from - chunk.start);
      to = from;
    }
  }

  /** The next bytes that lie together, below a position; empty without any. */
  peek(below: number): Uint8Array<ArrayBuffer> {
    const first = this.#chunks[0];
    if (first === undefined || this.begin >= below) return none;
    return first.bytes.subarray(this.begin - first.start, Math.min(below, first.end) - first.start);
  }

  /**
   * So many of the next bytes were read.
   *
   * @param needed up to where something may lie that was not read
   * @param keeps set when whoever read them goes on looking at them, so that their memory may not be used again
   */
  took(count: number, needed: number, keeps: boolean): void {
    this.begin += count;
    if (keeps && this.#chunks.length > 0) this.#chunks[0]!.shared = true;
    while (this.#chunks.length > 0) {
      const first = this.#chunks[0]!;
      if (first.end > this.begin && needed > this.begin) break;
      if (!first.shared) this.#pool.giveBack(first.bytes);
      this.#chunks.shift();
      if (this.#chunks.length === 0) this.#end = this.begin;
    }
  }

  /** Bytes up to a position went past it, to somebody who took them at once. Only while it holds none. */
  pass(position: number): void {
    this.begin = position;
    this.#end = position;
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#end = this.begin;
  }
}
