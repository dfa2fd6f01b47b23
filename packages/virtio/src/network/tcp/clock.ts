/** The time, handed in by whoever has one, so that a test can have a time of its own. */
export interface Clock {
  /** Milliseconds since some moment; never goes back. Fractions are welcome. */
  now(): number;
  /**
   * Calls `fire` once, so many milliseconds from now. Never from within this call.
   *
   * @returns takes the call back; does nothing once it was made
   */
  setTimer(milliseconds: number, fire: () => void): () => void;
}
