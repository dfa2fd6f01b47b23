import type { Arrivals, Sent } from './flight.ts';

/** Milliseconds after which a least round trip is too old to go by. */
const leastLasts = 60_000;
/** Recoveries with nothing that came twice, after which the patience that was learned is forgotten. */
const patienceLasts = 16;
/** Milliseconds by which clocks and sums are not exact. */
const slack = 0.01;

/**
 * Tells losses by time: what was sent a while before something that arrived is lost (RFC 8985, 6.2). How much of a while that
 * is depends on whether the path was ever seen to change the order.
 */
export class Rack implements Arrivals {
  /** Of what arrived, that which was sent last: as the how-manieth of all, where it ended, and how long it took. */
  order = -1;
  end = 0;
  trip = 0;
  /** Milliseconds since that was sent which the acknowledgment echoes; -1 when unknown. Set before something arrives. */
  echoed = -1;
  now = 0;
  #least = Number.POSITIVE_INFINITY;
  #leastLately = Number.POSITIVE_INFINITY;
  #leastSince = 0;
  /** The path was seen to change the order. */
  #reorders = false;
  /** Where that ends which arrived and lies behind all else, by the acknowledgments before this one, and by this one. */
  #foremost = 0;
  #foremostNow = 0;
  /** In quarters of a round trip; how many recoveries that lasts; and what is acknowledged when it may grow again. */
  #patience = 1;
  #patienceLasts = 0;
  #patientUntil = -1;

  arrived({ at, order, again }: Sent, end: number): void {
    if (end > this.#foremostNow) this.#foremostNow = end;
    else if (end < this.#foremost && !again) this.#reorders = true;
    const trip = this.now - at;
    if (again) {
      // It may be the first one that arrived, and this one not.
      if (this.echoed > trip + 1 || trip < this.#least) return;
    } else this.#measured(trip);
    if (order < this.order || (order === this.order && end <= this.end)) return;
    this.order = order;
    this.end = end;
    this.trip = trip;
  }

  /** All that an acknowledgment tells was told. */
  settle(): void {
    this.#foremost = Math.max(this.#foremost, this.#foremostNow);
  }

  /** Something came twice, so that it was sent again for nothing. Positions are of what is acknowledged, and was sent. */
  cameTwice(acknowledged: number, next: number): void {
    if (acknowledged < this.#patientUntil) return;
    this.#patientUntil = next;
    this.#patience++;
    this.#patienceLasts = patienceLasts;
  }

  recovered(): void {
    if (--this.#patienceLasts <= 0) this.#patience = 1;
  }

  /**
   * The latest moment at which something was sent that is lost, when it was sent before what arrived.
   *
   * @param sure something is lost: only a path that changes the order makes it worth waiting
   */
  sentBy(sure: boolean, smoothed: number): number {
    return this.now - this.trip - this.#window(sure, smoothed) + slack;
  }

  /** When what was sent at a moment is lost, should it not arrive before. */
  dueAt(sent: number, sure: boolean, smoothed: number): number {
    return sent + this.trip + this.#window(sure, smoothed);
  }

  #window(sure: boolean, smoothed: number): number {
    if (sure && !this.#reorders) return 0;
    return Math.min((this.#patience * this.#least) / 4, smoothed || this.#least);
  }

  #measured(trip: number): void {
    if (this.now - this.#leastSince > leastLasts) {
      this.#least = this.#leastLately;
      this.#leastLately = Number.POSITIVE_INFINITY;
      this.#leastSince = this.now;
    }
    this.#leastLately = Math.min(this.#leastLately, trip);
    this.#least = Math.min(this.#least, trip);
  }
}
