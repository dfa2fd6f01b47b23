/** Bytes that are kept together. What was never written in them takes no room behind the last that was. */
const pieceSize = 65_536;

/** The shortest piece that is kept. */
const leastPiece = 64;

/**
 * The bytes of a file: those that were never written are 0 and take no room. Room is counted by `claim`, which throws when
 * there is none.
 */
export class SparseBytes {
  readonly #pieces = new Map<number, Uint8Array<ArrayBuffer>>();
  readonly #claim: (bytes: number) => void;
  #size = 0;
  /** Bytes that are kept. */
  #room = 0;
  /** The numbers of all pieces in order, while none is added or taken. */
  #order: number[] | undefined;

  constructor(claim: (bytes: number) => void) {
    this.#claim = claim;
  }

  get size(): number {
    return this.#size;
  }

  /** Bytes that are really there. */
  get room(): number {
    return this.#room;
  }

  /** Cuts, with what takes room behind the end, or grows by bytes that take none. */
  setSize(size: number): void {
    if (size <= this.#size) this.clear(size, Number.MAX_SAFE_INTEGER);
    this.#size = size;
  }

  /** Fills `target` from `offset`; answers how many bytes there were. */
  read(offset: number, target: Uint8Array): number {
    const count = Math.max(0, Math.min(target.length, this.#size - offset));
    for (let done = 0; done < count; ) {
      const at = offset + done;
      const within = at % pieceSize;
      const length = Math.min(count - done, pieceSize - within);
      const piece = this.#pieces.get((at - within) / pieceSize);
      const there = piece === undefined ? 0 : Math.max(0, Math.min(length, piece.length - within));
      if (piece !== undefined && there > 0) target.set(piece.subarray(within, within + there), done);
      if (there < length) target.fill(0, done + there, done + length);
      done += length;
    }
    return count;
  }

  write(offset: number, source: Uint8Array): void {
    for (let done = 0; done < source.length; ) {
      const at = offset + done;
      const within = at % pieceSize;
      const length = Math.min(source.length - done, pieceSize - within);
      const piece = this.#piece((at - within) / pieceSize, within + length);
      piece.set(length === source.length ? source : source.subarray(done, done + length), within);
      done += length;
    }
    if (offset + source.length > this.#size) this.#size = offset + source.length;
  }

  /** Makes room for a range without writing to it. */
  allocate(offset: number, end: number): void {
    for (let at = offset; at < end; ) {
      const within = at % pieceSize;
      const length = Math.min(end - at, pieceSize - within);
      this.#piece((at - within) / pieceSize, within + length);
      at += length;
    }
  }

  /** Makes a range 0, and gives back the room of whole pieces in it. */
  clear(offset: number, end: number): void {
    const first = Math.floor(offset / pieceSize);
    const last = Math.ceil(end / pieceSize);
    // Whichever is less: the pieces of the range, or all that there are.
    const numbers =
      last - first <= this.#pieces.size
        ? Array.from({ length: last - first }, (_, i) => first + i)
        : [...this.#pieces.keys()].filter((number) => number >= first && number < last);
    for (const number of numbers) {
      const piece = this.#pieces.get(number);
      if (piece === undefined) continue;
      const start = number * pieceSize;
      const from = Math.max(0, offset - start);
      // Behind the last byte is nothing to keep.
      const to = end >= this.#size ? piece.length : Math.min(piece.length, end - start);
      if (from === 0 && to === piece.length) this.#remove(number, piece);
      else piece.fill(0, from, to);
    }
  }

  /** The first byte at or behind `offset` that takes room, or that takes none; `undefined` behind the last. */
  seek(offset: number, kind: 'data' | 'hole'): number | undefined {
    if (offset >= this.#size) return undefined;
    const order = this.#inOrder();
    let index = lowerBound(order, Math.floor(offset / pieceSize));
    if (kind === 'data') {
      const number = order[index];
      if (number === undefined) return undefined;
      const found = Math.max(offset, number * pieceSize);
      return found < this.#size ? found : undefined;
    }
    let at = offset;
    for (let number = Math.floor(offset / pieceSize); order[index] === number; number++, index++) {
      at = (number + 1) * pieceSize;
    }
    return Math.min(at, this.#size);
  }

  #piece(number: number, length: number): Uint8Array<ArrayBuffer> {
    const piece = this.#pieces.get(number);
    if (piece !== undefined && piece.length >= length) return piece;
    // Grown by doubling, so that appending costs little; to all of it at once where it is not the first.
    let size = number === 0 ? Math.max(leastPiece, piece?.length ?? 0) : pieceSize;
    while (size < length) size *= 2;
    this.#claim(size - (piece?.length ?? 0));
    this.#room += size - (piece?.length ?? 0);
    const larger = new Uint8Array(size);
    if (piece === undefined) this.#order = undefined;
    else larger.set(piece);
    this.#pieces.set(number, larger);
    return larger;
  }

  #remove(number: number, piece: Uint8Array): void {
    this.#pieces.delete(number);
    this.#order = undefined;
    this.#room -= piece.length;
    this.#claim(-piece.length);
  }

  #inOrder(): number[] {
    this.#order ??= [...this.#pieces.keys()].sort((a, b) => a - b);
    return this.#order;
  }
}

/** The index of the first that is not below `value`. */
function lowerBound(sorted: readonly number[], value: number): number {
  let from = 0;
  let to = sorted.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((sorted[middle] ?? 0) < value) from = middle + 1;
    else to = middle;
  }
  return from;
}
