const half = 0x1_0000_0000;

/** By how much sequence numbers of 64 bits may be out of order where no window says so. */
const leastWindow = 64;

/**
 * Which sequence numbers came, of the last so many (RFC 4303, 3.4.3). It is asked before a packet is known to be authentic, and
 * told after that.
 */
export class ReplayWindow {
  readonly #size: number;
  readonly #extended: boolean;
  /** One for each number of the window, at its remainder. */
  readonly #seen: Uint8Array;
  #highest = 0;

  /** For so many numbers; 0 refuses none. */
  constructor(size: number, extended: boolean) {
    this.#size = size;
    this.#extended = extended;
    this.#seen = new Uint8Array(size);
  }

  /** The highest number that came. */
  get highest(): number {
    return this.#highest;
  }

  /** The whole of a number whose lower half is known; −1 when there is none (RFC 4303, A2.1). */
  whole(low: number): number {
    if (!this.#extended) return low;
    const top = this.#highest % half;
    const upper = this.#highest - top;
    const least = top - Math.max(this.#size, leastWindow) + 1;
    if (least >= 0) return (low >= least ? upper : upper + half) + low;
    return low >= least + half ? upper - half + low : upper + low;
  }

  /** True for a number that may come. */
  accepts(sequence: number): boolean {
    if (this.#size === 0) return sequence >= 0 && Number.isSafeInteger(sequence);
    if (sequence <= 0 || !Number.isSafeInteger(sequence)) return false;
    if (sequence > this.#highest) return true;
    return this.#highest - sequence < this.#size && this.#seen[sequence % this.#size] === 0;
  }

  /** It came. */
  came(sequence: number): void {
    const size = this.#size;
    if (sequence > this.#highest) {
      const first = Math.max(this.#highest + 1, sequence - size + 1);
      for (let number = first; number < sequence; number++) this.#seen[number % size] = 0;
      this.#highest = sequence;
    }
    if (size > 0) this.#seen[sequence % size] = 1;
  }

  /** The numbers of the window that came, lowest first. */
  numbers(): number[] {
    const numbers: number[] = [];
    for (let number = Math.max(1, this.#highest - this.#size + 1); number <= this.#highest; number++) {
      if (this.#seen[number % this.#size] === 1) numbers.push(number);
    }
    return numbers;
  }

  /** Goes on where another one was: `highest` and `numbers` of it. */
  restore(highest: number, numbers: readonly number[]): void {
    this.#highest = 0;
    this.#seen.fill(0);
    for (const number of numbers) if (number > 0 && number <= highest) this.came(number);
    if (highest > this.#highest) {
      this.came(highest);
      if (this.#size > 0 && !numbers.includes(highest)) this.#seen[highest % this.#size] = 0;
    }
  }
}
