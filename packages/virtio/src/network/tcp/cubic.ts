import { type Congestion, initialWindow } from './congestion.ts';

/** How steep the curve is, in segments per second cubed, and to what a loss reduces the window (RFC 9438, 4.6 and 5). */
const steepness = 0.4;
const reduction = 0.7;
/** Growth of the estimate of what Reno would have, in segments a round trip, until it has what there was before the loss. */
const renoGrowth = (3 * (1 - reduction)) / (1 + reduction);

/** Congestion control of RFC 9438: the window grows along a cubic curve around where the last loss was. */
export class Cubic implements Congestion {
  window: number;
  threshold = Number.MAX_SAFE_INTEGER;
  #segment: number;
  /** In segments: where the curve is flat, what there was before the loss, and what Reno would have by now. */
  #plateau = 0;
  #before = 0;
  #estimate = 0;
  /** When the curve began, in milliseconds; 0 when it has not. And how long it takes to its flat part, in seconds. */
  #epoch = 0;
  #toPlateau = 0;
  /** The loss was found by a time-out: nothing is known of a plateau. */
  #unknown = true;

  /** @param segment bytes in a full segment; the window is one of them when the first SYN was lost */
  constructor(segment: number, window = initialWindow(segment)) {
    this.#segment = segment;
    this.window = window;
  }

  acknowledged(bytes: number, now: number, roundTrip: number): void {
    if (this.window < this.threshold) {
      this.window = Math.min(this.window + bytes, Math.max(this.threshold, this.window));
      return;
    }
    const segments = this.window / this.#segment;
    if (this.#epoch === 0) this.#begin(segments, now);
    const acknowledged = bytes / this.#segment;
    const growth = this.#estimate >= this.#before ? 1 : renoGrowth;
    this.#estimate += (growth * acknowledged) / segments;
    const elapsed = (now - this.#epoch) / 1000;
    if (this.#at(elapsed) < this.#estimate) {
      this.window = Math.max(this.window, this.#estimate * this.#segment);
      return;
    }
    const target = Math.min(Math.max(this.#at(elapsed + roundTrip / 1000), segments), 1.5 * segments);
    this.window += ((target - segments) / segments) * bytes;
  }

  lost(underWay: number): void {
    this.#remember();
    this.threshold = Math.max(underWay * reduction, 2 * this.#segment);
    this.window = this.threshold;
    this.#unknown = false;
  }

  timedOut(underWay: number, again: boolean): void {
    if (!again) {
      this.#remember();
      this.threshold = Math.max(underWay * reduction, 2 * this.#segment);
    }
    this.window = this.#segment;
    this.#unknown = true;
  }

  recovered(): void {
    this.window = Math.max(this.threshold, this.#segment);
  }

  idle(): void {
    this.window = Math.min(this.window, initialWindow(this.#segment));
    this.#epoch = 0;
  }

  resize(segment: number): void {
    this.#segment = segment;
  }

  /** Takes down where the loss was; lower than it was when the one before was higher, so that others find room. */
  #remember(): void {
    const segments = this.window / this.#segment;
    this.#plateau = segments < this.#plateau ? (segments * (1 + reduction)) / 2 : segments;
    this.#before = segments;
    this.#epoch = 0;
  }

  #begin(segments: number, now: number): void {
    this.#epoch = now;
    this.#estimate = segments;
    if (this.#unknown || this.#plateau < segments) this.#plateau = segments;
    this.#toPlateau = Math.cbrt((this.#plateau - segments) / steepness);
  }

  /** Where the curve is, in segments, so many seconds after it began. */
  #at(seconds: number): number {
    return steepness * (seconds - this.#toPlateau) ** 3 + this.#plateau;
  }
}
