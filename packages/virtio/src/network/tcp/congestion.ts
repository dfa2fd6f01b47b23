/** How much may be under way, so that the path is neither empty nor full (RFC 5681). All in bytes. */
export interface Congestion {
  /** How much may be under way now: `cwnd`. */
  readonly window: number;
  /** Above this, the window grows carefully: `ssthresh`. */
  readonly threshold: number;
  /**
   * New bytes were acknowledged, and the window was what held the sender back. Not called in recovery.
   *
   * @param now and `roundTrip` in milliseconds
   */
  acknowledged(bytes: number, now: number, roundTrip: number): void;
  /** A loss was found by what was acknowledged, with so many bytes under way. */
  lost(underWay: number): void;
  /** Nothing was acknowledged for too long. `again` when the same bytes were already given up once. */
  timedOut(underWay: number, again: boolean): void;
  /** Recovery is over: the window is again what the loss made of it. */
  recovered(): void;
  /** Nothing was sent for long: what was known of the path is old (RFC 5681, 4.1). */
  idle(): void;
  /** The size of full segments has changed, as the path takes less. */
  resize(segment: number): void;
}

/** The window that a connection begins with (RFC 6928). */
export function initialWindow(segment: number): number {
  return Math.min(10 * segment, Math.max(2 * segment, 14_600));
}
