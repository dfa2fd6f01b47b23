import type { Chain } from '../virtqueue/chain.ts';
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
  /** @internal A chain was served, one of several at once. It may have gone back; its length is there still. */
  served(queue: ActiveQueue, chain: Chain): void;
}

/**
 * The driver runs beside us: what is done is shown to it while we do the rest, so that it has something to do meanwhile. Of
 * short requests a few at a time, since each look costs either side, and of long ones each.
 */
const mostUnseen = 65_536;
/** What a buffer counts at least, in bytes. */
const leastWorth = 16_384;

/**
 * Spares the driver notifications, and the device the way through its event loop, while requests come quickly. It is
 * for queues that the device serves; a queue whose buffers wait for the device is notified as ever.
 */
export function pollQueues(pacer: Pacer): QueuePolling {
  let unseen = 0;
  return {
    served(queue, { totalLength }) {
      unseen += leastWorth + totalLength;
      if (unseen < mostUnseen) return;
      unseen = 0;
      queue.flush();
    },
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
