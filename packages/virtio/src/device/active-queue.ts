import type { Chain } from '../virtqueue/chain.ts';
import type { DeviceQueue } from '../virtqueue/queue.ts';
import type { PolledQueue } from './polled-queue.ts';

/** What the core lends to a live queue. */
export interface QueueOwner {
  /** False while the device may not touch its queues: not live, suspended, in need of a reset. */
  mayTake(): boolean;
  taken(queue: ActiveQueue, chain: Chain): void;
  completed(queue: ActiveQueue, chain: Chain): void;
  /** A chain is not in the device's hands any more. */
  cameBack(): void;
  /** The driver is to be notified. */
  interrupt(queue: ActiveQueue): void;
  /** The device wants to look at the queue again, after the caller's turn. */
  processLater(queue: ActiveQueue): void;
  /** The queue broke, or what the device did with it failed: mostly since a chain was not as it should be. */
  failed(queue: ActiveQueue, error: unknown): void;
}

/** Who must know what happens to a queue's buffers beside the device: to log, or to remember over the death of a process. */
export interface QueueWatch {
  /** A buffer was taken: the first time, or once more after its queue was restored. */
  taken(chain: Chain): void;
  /** The buffer that was taken last went back into its queue. */
  untaken(chain: Chain): void;
  /** A buffer is about to be given back; the driver does not see it yet. */
  completed(chain: Chain): void;
  /** Whatever was given back before is seen by the driver. */
  published(): void;
}

/** Decides when a driver is notified of what was given back to it: `ActiveQueue.moderation`. */
export interface Moderation {
  /**
   * So many buffers were given back at once. True when the driver is to be notified now, should it want that, of these and of
   * all that were held; false when they are held until `notify`, or until this says so.
   */
  due(queue: ActiveQueue, buffers: number): boolean;
  /** The driver is notified. */
  notified?(queue: ActiveQueue): void;
}

/** Handles one request. `queue.number` tells the queues of a family apart. */
export type ServeHandler = (chain: Chain, queue: ActiveQueue) => void | Promise<void>;

/** Called when buffers may have become available. */
export type AvailableHandler = (queue: ActiveQueue) => void;

/** What a queue is to its device. */
export interface QueuePlace {
  /** In the device type's table; absent for an administration virtqueue. */
  readonly name?: string | undefined;
  /** Within its family, from 0. */
  readonly number: number;
  /** As the specification writes it: `requestq1`. */
  readonly label: string;
  readonly serve?: ServeHandler | undefined;
  readonly available?: AvailableHandler | undefined;
}

/** A queue that a driver has enabled, as a device sees it: buffers, and no ring. */
export class ActiveQueue {
  /** Among the device's virtqueues. */
  readonly index: number;
  /** @internal */
  readonly place: QueuePlace;
  /** @internal */
  readonly ring: DeviceQueue;
  /** @internal The host looks at the queue by itself: the driver is not asked to notify when it runs empty. */
  quiet = false;
  /** @internal As a host sees it that looks by itself. */
  polled: PolledQueue | undefined;
  /** @internal True while nothing may be taken; what was taken goes on. */
  held = false;
  /** Holds notifications back; absent, the driver is notified of each batch. */
  moderation: Moderation | undefined;
  /** @internal */
  readonly owner: QueueOwner;
  /** @internal */
  readonly watch: QueueWatch | undefined;
  readonly #waiting: ((chain: Chain | undefined) => void)[] = [];
  #batches = 0;
  /** Buffers that were given back since the last flush. */
  #completed = 0;
  #closed = false;

  constructor(index: number, place: QueuePlace, ring: DeviceQueue, owner: QueueOwner, watch?: QueueWatch) {
    this.index = index;
    this.place = place;
    this.ring = ring;
    this.owner = owner;
    this.watch = watch;
  }

  /** Within its family, from 0. */
  get number(): number {
    return this.place.number;
  }

  /** As the specification writes it: `requestq1`. */
  get label(): string {
    return this.place.label;
  }

  /** Queue Size, in descriptors: as many buffers can be available at once. */
  get size(): number {
    return this.ring.size;
  }

  /** False once the queue or the device was reset: its chains are dead then. */
  get live(): boolean {
    return !this.#closed;
  }

  /**
   * The next available chain, or `undefined`: none is there, or the device may not take any now. From then on
   * the driver is asked to notify, unless the host looks by itself.
   */
  take(): Chain | undefined {
    if (this.#closed || this.held || !this.owner.mayTake()) return undefined;
    const { ring } = this;
    const chain = ring.take() ?? (!this.quiet && ring.enableNotifications() ? ring.take() : undefined);
    if (chain !== undefined) {
      this.watch?.taken(chain);
      this.owner.taken(this, chain);
    } else if (ring.error !== undefined) this.owner.failed(this, ring.error);
    return chain;
  }

  /** Waits for the next available chain; `undefined` when the queue was reset meanwhile. */
  next(): Promise<Chain | undefined> {
    if (this.#waiting.length === 0) {
      const chain = this.take();
      if (chain !== undefined || this.#closed) return Promise.resolve(chain);
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /**
   * Returns a chain to the driver with what was written to `chain.writable`. A chain of before a reset is
   * ignored.
   */
  complete(chain: Chain): void {
    if (this.#closed) return;
    if (this.watch !== undefined && chain.live) this.watch.completed(chain);
    this.owner.completed(this, chain);
    this.ring.complete(chain);
    this.#completed++;
    if (this.#batches === 0) this.flush();
  }

  /**
   * Runs `work`, and publishes and notifies what it completed once, at its end; some of it sooner where the host says so. What `work` throws makes the
   * device need a reset, and goes no further: the host that asked for the work is not to blame for a driver.
   */
  batch(work: () => void): void {
    this.#batches++;
    try {
      work();
    } catch (error) {
      this.owner.failed(this, error);
    } finally {
      this.#batches--;
      if (this.#batches === 0) this.flush();
    }
  }

  /**
   * Has the device called for the queue again, after the caller's turn: for a handler that stops before the queue is
   * empty.
   */
  processLater(): void {
    if (!this.#closed) this.owner.processLater(this);
  }

  /** Notifies the driver, should it want that, of what was held back. */
  notify(): void {
    if (!this.#closed) this.#signal();
  }

  /** @internal Gives available chains to those who wait for them. */
  wake(): void {
    while (this.#waiting.length > 0) {
      const chain = this.take();
      if (chain === undefined) return;
      this.#waiting.shift()?.(chain);
    }
  }

  /** @internal */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.ring.close();
    for (const resolve of this.#waiting.splice(0)) resolve(undefined);
  }

  /** @internal Shows the driver what was given back. */
  flush(): void {
    if (this.#closed) return;
    const buffers = this.#completed;
    this.#completed = 0;
    if (buffers === 0 || this.moderation?.due(this, buffers) !== false) {
      this.#signal();
      return;
    }
    this.ring.publish();
    if (this.ring.error === undefined) this.watch?.published();
  }

  #signal(): void {
    const notify = this.ring.flush();
    if (this.ring.error === undefined) this.watch?.published();
    if (!notify) return;
    this.moderation?.notified?.(this);
    this.owner.interrupt(this);
  }
}
