/** Bytes of a page, which is written in whole or not at all as far as is remembered. */
export const dirtyPageSize = 4096;

/** Pages of one piece of the record. */
const piecePages = 32_768;

/** Pieces beyond which every page counts as written: they tell 2 TiB apart. A client may name memory that nobody has. */
const mostPieces = 16_384;

/** A record of written pages: a bit for each, in pieces that are made when something is written there. */
export class DirtyPages {
  readonly #pieces = new Map<number, Uint32Array>();
  #isAll = false;

  /** Bytes were written from an address on. */
  mark(address: number, length: number): void {
    if (length <= 0) return;
    const last = Math.floor((address + length - 1) / dirtyPageSize);
    for (let page = Math.floor(address / dirtyPageSize); page <= last && !this.#isAll; page++) {
      const piece = this.#piece(Math.floor(page / piecePages));
      const word = (page % piecePages) >>> 5;
      piece[word] = (piece[word] ?? 0) | (1 << (page & 31));
    }
  }

  /** Gives the written pages of a range, as far as they lie in it, and forgets those that do as a whole. */
  take(start: number, end: number, sink: (from: number, to: number) => void): void {
    if (this.#isAll) sink(start, end);
    for (const [index, piece] of this.#pieces) {
      for (let word = 0; word < piece.length; word++) {
        for (let left = piece[word] ?? 0; left !== 0; left &= left - 1) {
          const bit = 31 - Math.clz32(left & -left);
          const address = (index * piecePages + 32 * word + bit) * dirtyPageSize;
          const from = Math.max(start, address);
          const to = Math.min(end, address + dirtyPageSize);
          if (from >= to) continue;
          sink(from, to);
          if (to - from === dirtyPageSize) piece[word] = (piece[word] ?? 0) & ~(1 << bit);
        }
      }
    }
  }

  #piece(index: number): Uint32Array {
    const known = this.#pieces.get(index);
    if (known !== undefined) return known;
    const piece = new Uint32Array(piecePages / 32);
    this.#pieces.set(index, piece);
    if (this.#pieces.size > mostPieces) {
      this.#isAll = true;
      this.#pieces.clear();
    }
    return piece;
  }
}
