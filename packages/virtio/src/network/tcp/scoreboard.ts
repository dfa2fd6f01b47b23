/** Ranges that are kept of one peer's; what it tells beyond is forgotten, which costs it a retransmission. */
const mostRanges = 256;

/** Losses that are assumed at so many segments that came out of order: `DupThresh`. */
export const duplicateThreshold = 3;

/**
 * What the peer has that lies behind a gap, by its SACK blocks (RFC 6675). All are positions in the stream that is sent:
 * ranges that do not touch, in order.
 */
export class Scoreboard {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  /** Bytes in all of them. */
  total = 0;
  /** Behind what {@link hole} found: where it ends. */
  holeEnd = 0;

  get empty(): boolean {
    return this.#starts.length === 0;
  }

  /** The position behind the last range; 0 without any. */
  get end(): number {
    return this.#ends.at(-1) ?? 0;
  }

  /** Where the last range starts; 0 without any. */
  get lastStart(): number {
    return this.#starts.at(-1) ?? 0;
  }

  /** The peer has these. @returns how many of them it was not known to have */
  add(start: number, end: number): number {
    const starts = this.#starts;
    const ends = this.#ends;
    // From the end: that is where most go.
    let last = starts.length;
    while (last > 0 && starts[last - 1]! > end) last--;
    let first = last;
    let known = 0;
    while (first > 0 && ends[first - 1]! >= start) {
      first--;
      known += ends[first]! - starts[first]!;
    }
    if (first === last) {
      if (starts.length >= mostRanges) return 0;
      starts.splice(first, 0, start);
      ends.splice(first, 0, end);
      this.total += end - start;
      return end - start;
    }
    const from = Math.min(start, starts[first]!);
    const to = Math.max(end, ends[last - 1]!);
    starts[first] = from;
    ends[first] = to;
    if (last - first > 1) {
      starts.splice(first + 1, last - first - 1);
      ends.splice(first + 1, last - first - 1);
    }
    const fresh = to - from - known;
    this.total += fresh;
    return fresh;
  }

  /**
   * All below is acknowledged for good. False when the peer has gone back on what it said: it acknowledges no further than
   * up to something that it had told to have.
   */
  acknowledged(position: number): boolean {
    while (this.#starts.length > 0 && this.#starts[0]! <= position) {
      const end = this.#ends[0]!;
      if (end > position) return false;
      this.total -= end - this.#starts[0]!;
      this.#starts.shift();
      this.#ends.shift();
    }
    return true;
  }

  clear(): void {
    this.#starts.length = 0;
    this.#ends.length = 0;
    this.total = 0;
  }

  /** Below this, what the peer does not have is lost: enough came that was sent after it (`IsLost`). */
  lostBelow(segment: number): number {
    let bytes = 0;
    for (let i = this.#starts.length - 1; i >= 0; i--) {
      bytes += this.#ends[i]! - this.#starts[i]!;
      const ranges = this.#starts.length - i;
      if (ranges >= duplicateThreshold || bytes > (duplicateThreshold - 1) * segment) return this.#starts[i]!;
    }
    return 0;
  }

  /** Bytes that the peer has between two positions. */
  between(from: number, to: number): number {
    let bytes = 0;
    for (let i = 0; i < this.#starts.length && this.#starts[i]! < to; i++) {
      bytes += Math.max(0, Math.min(this.#ends[i]!, to) - Math.max(this.#starts[i]!, from));
    }
    return bytes;
  }

  /** The first position from `from` that the peer does not have; {@link holeEnd} says where it has some again, or `limit`. */
  hole(from: number, limit: number): number {
    let at = from;
    this.holeEnd = limit;
    for (let i = 0; i < this.#starts.length; i++) {
      if (this.#ends[i]! <= at) continue;
      if (this.#starts[i]! > at) {
        this.holeEnd = Math.min(this.#starts[i]!, limit);
        break;
      }
      at = this.#ends[i]!;
    }
    return at;
  }
}
