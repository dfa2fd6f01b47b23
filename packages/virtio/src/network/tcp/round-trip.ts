/** Milliseconds between which the time-out stays, and where it begins. */
const leastTimeout = 200;
const mostTimeout = 60_000;
const firstTimeout = 1000;
/** Of a connection whose first segment was sent more than once (RFC 6298, 5.7). */
const timeoutAfterLostSyn = 3000;

/**
 * How long an acknowledgment takes, and how long to wait for it (RFC 6298). The least wait is 200 ms and not the second that
 * the RFC asks for, as in Linux: the link is short, and a delayed acknowledgment is not held back longer by anybody we know.
 */
export class RoundTrip {
  /** The smoothed round trip, in milliseconds; 0 before the first was measured. */
  smoothed = 0;
  /** Milliseconds to wait, without the doublings. */
  #timeout = firstTimeout;
  #variation = 0;
  #measured = false;
  /** How often the wait was doubled. */
  doublings = 0;

  /** Milliseconds to wait for an acknowledgment. */
  get timeout(): number {
    return Math.min(this.#timeout * 2 ** Math.min(this.doublings, 16), mostTimeout);
  }

  measured(sample: number): void {
    if (this.#measured) {
      this.#variation = 0.75 * this.#variation + 0.25 * Math.abs(this.smoothed - sample);
      this.smoothed = 0.875 * this.smoothed + 0.125 * sample;
    } else {
      this.#measured = true;
      this.smoothed = sample;
      this.#variation = sample / 2;
    }
    this.#timeout = Math.min(
      Math.max(this.smoothed + Math.max(1, 4 * this.#variation), leastTimeout),
      mostTimeout,
    );
  }

  /** The connection is there, and its first segment was lost: nothing was measured by that. */
  lostSyn(): void {
    if (!this.#measured) this.#timeout = timeoutAfterLostSyn;
  }
}
