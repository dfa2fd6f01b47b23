import type { FolderCalls } from '../ffi/folder-calls.ts';

/** Pieces of one call at most: Linux takes no more. */
const most = 1024;

/** `struct iovec`s for calls that move bytes to and from many pieces of memory. There is one; it is filled for each call. */
export class Vectors {
  readonly #calls: FolderCalls;
  readonly #words = new Uint32Array(4 * most);
  /** What a call is given. */
  readonly bytes: Uint8Array = new Uint8Array(this.#words.buffer);
  /** Where buffers begin. The engine moves none of them. */
  readonly #starts = new WeakMap<ArrayBufferLike, number>();
  #lastBuffer: ArrayBufferLike | undefined;
  #lastStart = 0;

  constructor(calls: FolderCalls) {
    this.#calls = calls;
  }

  /** Fills in the pieces from the `first` on, without its first `skip` bytes; answers how many there are. */
  fill(pieces: readonly Uint8Array[], first: number, skip: number): number {
    const count = Math.min(pieces.length - first, most);
    const words = this.#words;
    for (let index = 0; index < count; index++) {
      const piece = pieces[first + index]!;
      const hidden = index === 0 ? skip : 0;
      const address = this.#startOf(piece.buffer) + piece.byteOffset + hidden;
      const length = piece.byteLength - hidden;
      const at = 4 * index;
      words[at] = address;
      words[at + 1] = address / 2 ** 32;
      words[at + 2] = length;
      words[at + 3] = length / 2 ** 32;
    }
    return count;
  }

  #startOf(buffer: ArrayBufferLike): number {
    if (buffer === this.#lastBuffer) return this.#lastStart;
    let start = this.#starts.get(buffer);
    if (start === undefined) {
      // Shared memory of threads has an address as well; the library's types do not say so.
      start = Number(this.#calls.addressOf(buffer as ArrayBuffer));
      this.#starts.set(buffer, start);
    }
    this.#lastBuffer = buffer;
    this.#lastStart = start;
    return start;
  }
}
