import type { ActiveQueue } from './active-queue.ts';
import type { Pacer, PolledQueue } from './polled-queue.ts';

/** What the core needs of it. */
interface Core {
  mayTake(): boolean;
  process(queue: ActiveQueue): void;
}

/** Queues that are looked at for a while after they ran empty: `pollQueues(pacer)`. */
export interface QueuePolling {
  /** @internal */
  ranEmpty(queue: ActiveQueue, core: Core): void;
}

/**
 * Spares the driver notifications, and the device the way through its event loop, while requests come quickly. It is
 * for queues that the device serves; a queue whose buffers wait for the device is notified as ever.
 */
export function pollQueues(pacer: Pacer): QueuePolling {
  return {
    ranEmpty(queue, core) {
      queue.polled ??= new LingeringQueue(queue, core);
      pacer.linger(queue.polled);
    },
  };
}

class LingeringQueue implements PolledQueue {
  readonly #queue: ActiveQueue;
  readonly #core: Core;

  constructor(queue: ActiveQueue, core: Core) {
    this.#queue = queue;
    this.#core = core;
  }

  look(): boolean {
    const { ring } = this.#queue;
    // What a driver did wrong is found by looking, and told of by taking.
    if (!this.#isOpen() || (!ring.hasAvailable() && ring.error === undefined)) return false;
    this.#core.process(this.#queue);
    return true;
  }

  rest(): boolean {
    this.#queue.quiet = false;
    if (!this.#isOpen() || !this.#queue.ring.enableNotifications()) return false;
    this.#core.process(this.#queue);
    return true;
  }

  #isOpen(): boolean {
    return this.#queue.live && !this.#queue.held && this.#core.mayTake();
  }
}
