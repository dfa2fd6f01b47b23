import type { WritableCursor } from '../../virtqueue/chain.ts';

interface Piece {
  readonly bytes: Uint8Array;
  taken: number;
  readonly done: (failure?: Error) => void;
}

/** Bytes on their way to the guest, which takes them when it has buffers. */
export class Input {
  readonly #pieces: Piece[] = [];
  #length = 0;

  /** Bytes that wait. */
  get length(): number {
    return this.#length;
  }

  /** Adds a copy of `bytes`. Settles once the guest has taken them, or they are discarded. */
  add(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#length += bytes.length;
      const done = (failure?: Error): void => (failure === undefined ? resolve() : reject(failure));
      this.#pieces.push({ bytes: bytes.slice(), taken: 0, done });
    });
  }

  /** Gives the guest's buffer as much as it holds. */
  fill(buffer: WritableCursor): void {
    for (let piece = this.#pieces[0]; piece !== undefined && buffer.remaining > 0; piece = this.#pieces[0]) {
      const written = buffer.write(piece.bytes.subarray(piece.taken));
      piece.taken += written;
      this.#length -= written;
      if (piece.taken < piece.bytes.length) return;
      this.#pieces.shift();
      piece.done();
    }
  }

  /** Forgets what waits; whoever waits for it hears why. */
  discard(reason: Error): void {
    this.#length = 0;
    for (const piece of this.#pieces.splice(0)) piece.done(reason);
  }

  /** All that waits. */
  save(): number[] {
    return this.#pieces.flatMap(({ bytes, taken }) => Array.from(bytes.subarray(taken)));
  }
}
