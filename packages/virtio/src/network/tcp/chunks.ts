/** Bytes of a chunk that is used again, and the least and the most that one has. */
const least = 4096;
const most = 65_536;
/** Chunks that are kept to be used again. */
const mostKept = 64;

/** Memory for bytes that wait. Large chunks are used again: making one costs as much as filling it. */
export class Chunks {
  readonly #kept: Uint8Array<ArrayBuffer>[] = [];

  /** A chunk for at least one and at best `wanted` bytes; whatever is in it. */
  take(wanted: number): Uint8Array<ArrayBuffer> {
    if (wanted > most / 2) return this.#kept.pop() ?? new Uint8Array(most);
    let size = least;
    while (size < wanted) size *= 2;
    return new Uint8Array(size);
  }

  /** Nobody looks at it any more. */
  giveBack(chunk: Uint8Array<ArrayBuffer>): void {
    if (chunk.length === most && this.#kept.length < mostKept) this.#kept.push(chunk);
  }
}
