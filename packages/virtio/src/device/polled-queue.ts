/** A queue that ran empty, and that its host looks at by itself. While it does, the driver is not asked to notify. */
export interface PolledQueue {
  /** Serves what has become available; true when there was something. A queue that was reset has nothing. */
  look(): boolean;
  /**
   * Asks the driver for notifications again. True when something became available meanwhile: that was served, and
   * the queue is not asked for, so it is to be looked at further.
   */
  rest(): boolean;
}

/** How a host paces its looks: it knows its event loop, its processors and the time. */
export interface Pacer {
  /**
   * A queue ran empty: `look` at it for a while, then let it `rest`; at once where looking does not pay. Called again
   * while a queue is looked at, which changes nothing.
   */
  linger(queue: PolledQueue): void;
}
