import { type Congestion, initialWindow } from './congestion.ts';

/** Congestion control of RFC 5681: the window grows by one segment a round trip, and a loss halves it. */
export class Reno implements Congestion {
  window: number;
  threshold = Number.MAX_SAFE_INTEGER;
  #segment: number;
  #counted = 0;

  /** @param segment bytes in a full segment; the window is one of them when the first SYN was lost */
  constructor(segment: number, window = initialWindow(segment)) {
    this.#segment = segment;
    this.window = window;
  }

  acknowledged(bytes: number): void {
    let rest = bytes;
    if (this.window < this.threshold) {
      const grown = Math.min(rest, this.threshold - this.window);
      this.window += grown;
      rest -= grown;
    }
    // Bytes are counted, not acknowledgments: a peer may send many or few of those (RFC 3465).
    this.#counted += rest;
    while (this.#counted >= this.window) {
      this.#counted -= this.window;
      this.window += this.#segment;
    }
  }

  lost(underWay: number): void {
    this.threshold = Math.max(underWay / 2, 2 * this.#segment);
    this.window = this.threshold;
    this.#counted = 0;
  }

  timedOut(underWay: number, again: boolean): void {
    if (!again) this.threshold = Math.max(underWay / 2, 2 * this.#segment);
    this.window = this.#segment;
    this.#counted = 0;
  }

  recovered(): void {
    this.window = Math.max(this.threshold, this.#segment);
  }

  idle(): void {
    this.window = Math.min(this.window, initialWindow(this.#segment));
  }

  resize(segment: number): void {
    this.#segment = segment;
  }
}
