import type { Budget } from './budget.ts';
import type { Chunks } from './chunks.ts';

/** Bytes below which a copy is cheaper than keeping what was given. */
const worthKeeping = 2048;

/** Bytes that wait, from which on chunks are large whatever is written. */
const bulk = 65_536;

interface Piece {
  readonly start: number;
  end: number;
  readonly bytes: Uint8Array;
  /** Set when the memory is ours: bytes may be added behind `end`. */
  readonly chunk: Uint8Array<ArrayBuffer> | undefined;
}

/** The bytes that were written and not acknowledged, by their positions in the stream, of which the first is 1. */
export class SendQueue {
  readonly #chunks: Chunks;
  readonly #budget: Budget;
  readonly #pieces: Piece[] = [];
  /** The piece that was read last, where the next is most likely read. */
  #cursor = 0;
  /** The first byte that is kept, and the one behind the last. */
  begin = 1;
  end = 1;

  /** @param budget what all queues together hold is counted there */
  constructor(chunks: Chunks, budget: Budget) {
    this.#chunks = chunks;
    this.#budget = budget;
  }

  get length(): number {
    return this.end - this.begin;
  }

  /** Adds bytes, and keeps what is given where it need not be copied. */
  keep(bytes: Uint8Array): void {
    if (bytes.length < worthKeeping) this.copy(bytes, bytes.length);
    else this.#push(bytes, bytes.length, undefined);
  }

  /** Adds a copy of the first `count` bytes. */
  copy(bytes: Uint8Array, count: number): void {
    let done = 0;
    const last = this.#pieces.at(-1);
    if (last?.chunk !== undefined) {
      const used = last.end - last.start;
      done = Math.min(count, last.chunk.length - used);
      if (done > 0) {
        last.chunk.set(done === bytes.length ? bytes : bytes.subarray(0, done), used);
        last.end += done;
        this.end += done;
        this.#budget.promise(done);
      }
    }
    while (done < count) {
      // Behind so much more will follow: a large chunk is used again, a small one is garbage.
      const chunk = this.#chunks.take(this.length < bulk ? count - done : bulk);
      const run = Math.min(count - done, chunk.length);
      chunk.set(run === bytes.length ? bytes : bytes.subarray(done, done + run));
      this.#push(chunk, run, chunk);
      done += run;
    }
  }

  #push(bytes: Uint8Array, length: number, chunk: Uint8Array<ArrayBuffer> | undefined): void {
    this.#pieces.push({ start: this.end, end: this.end + length, bytes, chunk });
    this.end += length;
    this.#budget.promise(length);
  }

  /** Copies `length` bytes from a position that is kept to `target`. */
  read(position: number, length: number, target: Uint8Array, at: number): void {
    let index = this.#cursor;
    if (index >= this.#pieces.length || position < this.#pieces[index]!.start) index = 0;
    let from = position;
    let to = at;
    for (const stop = position + length; from < stop; index++) {
      const piece = this.#pieces[index]!;
      if (piece.end <= from) continue;
      this.#cursor = index;
      const skip = from - piece.start;
      const run = Math.min(piece.end, stop) - from;
      const whole = skip === 0 && run === piece.bytes.length;
      target.set(whole ? piece.bytes : piece.bytes.subarray(skip, skip + run), to);
      from += run;
      to += run;
    }
  }

  /** Forgets all below a position. */
  drop(position: number): void {
    this.#budget.promise(this.begin - position);
    this.begin = position;
    let gone = 0;
    while (gone < this.#pieces.length && this.#pieces[gone]!.end <= position) {
      const { chunk } = this.#pieces[gone++]!;
      if (chunk !== undefined) this.#chunks.giveBack(chunk);
    }
    if (gone === 0) return;
    this.#pieces.splice(0, gone);
    this.#cursor = Math.max(0, this.#cursor - gone);
  }

  clear(): void {
    this.drop(this.end);
  }
}
