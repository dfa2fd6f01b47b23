import { pvirtqDescFlags } from './layout.ts';

const { AVAIL, USED } = pvirtqDescFlags;

/**
 * A position in a packed ring, together with the wrap counter that belongs to it: a counter cannot be
 * forgotten when the end of the ring is passed, or met exactly.
 */
export class Position {
  /** Descriptors from the start of the ring. */
  offset = 0;
  /** 0 or 1. */
  wrap = 1;
  readonly #size: number = 0;

  constructor(size: number, offset = 0, wrap = 1) {
    this.#size = size;
    this.offset = offset;
    this.wrap = wrap;
  }

  /** Moves ahead by at most the size of the ring. */
  advance(count: number): void {
    const offset = this.offset + count;
    if (offset < this.#size) {
      this.offset = offset;
    } else {
      this.offset = offset - this.#size;
      this.wrap ^= 1;
    }
  }

  /** Moves back by at most the size of the ring. */
  retreat(count: number): void {
    const offset = this.offset - count;
    if (offset >= 0) {
      this.offset = offset;
    } else {
      this.offset = offset + this.#size;
      this.wrap ^= 1;
    }
  }

  set(other: Position): void {
    this.offset = other.offset;
    this.wrap = other.wrap;
  }

  /** Offset and wrap counter as event suppression and notifications carry them. */
  get packed(): number {
    return this.offset | (this.wrap << 15);
  }

  /** The two bits that mark a descriptor here as available. */
  get availableBits(): number {
    return this.wrap === 1 ? AVAIL : USED;
  }

  /** The two bits that mark a descriptor here as used. */
  get usedBits(): number {
    return this.wrap === 1 ? AVAIL | USED : 0;
  }
}
