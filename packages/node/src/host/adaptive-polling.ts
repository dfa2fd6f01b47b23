import { availableParallelism } from 'node:os';
import type { Pacer, PolledQueue } from 'virtio/device';

/** How long to look, in microseconds. */
export interface PollingOptions {
  /**
   * The longest that a queue is looked at after it was last found to have something; 50 unless told, and 0, which is
   * never, on a machine with a single processor, where looking keeps the driver from running.
   */
  readonly longest?: number;
  /** The time, in milliseconds; the system's unless told. */
  readonly now?: () => number;
  /** Runs a task in the next turn of the event loop; `setImmediate` unless told. */
  readonly nextTurn?: (task: () => void) => void;
}

/** How long a queue is looked at when looking begins to pay, and below what it ends to, in milliseconds. */
const shortest = 0.01;
/** How long a turn looks before the event loop has the next one: what else happens waits so long. */
const turnLength = 0.005;

/** What is known of one queue. Times are in milliseconds. */
interface Pace {
  /** How long it is looked at after it last had something; 0 while that does not pay. */
  patience: number;
  /** When it was last let rest. */
  rested: number;
  /** When it last had something. */
  found: number;
}

/**
 * Looks at queues in the turns of the event loop, as long as that has paid lately. A notification soon after a queue
 * was let rest doubles the patience with it, one that took longer halves it; so a queue that is idle, or seldom used,
 * costs nothing.
 */
export class AdaptivePolling implements Pacer {
  readonly #longest: number;
  readonly #now: () => number;
  readonly #nextTurn: (task: () => void) => void;
  readonly #paces = new WeakMap<PolledQueue, Pace>();
  readonly #lingering = new Map<PolledQueue, Pace>();
  #scheduled = false;
  readonly #turn = (): void => this.#look();

  constructor(options: PollingOptions = {}) {
    this.#longest = (options.longest ?? (availableParallelism() > 1 ? 50 : 0)) / 1000;
    this.#now = options.now ?? (() => performance.now());
    this.#nextTurn = options.nextTurn ?? setImmediate;
  }

  /** Queues that are looked at now. */
  get lingering(): number {
    return this.#lingering.size;
  }

  linger(queue: PolledQueue): void {
    if (this.#lingering.has(queue)) return;
    const now = this.#now();
    const pace = this.#paceOf(queue);
    pace.patience = this.#patienceAfter(pace, now);
    pace.found = now;
    // Within its rest a queue may be found to have something, and linger again.
    this.#lingering.set(queue, pace);
    if (pace.patience === 0) this.#rest(queue, pace);
    this.#goOn();
  }

  #paceOf(queue: PolledQueue): Pace {
    const known = this.#paces.get(queue);
    if (known !== undefined) return known;
    const pace = { patience: 0, rested: Number.NEGATIVE_INFINITY, found: 0 };
    this.#paces.set(queue, pace);
    return pace;
  }

  #patienceAfter({ patience, rested }: Pace, now: number): number {
    if (now - rested <= this.#longest) return Math.min(this.#longest, Math.max(shortest, 2 * patience));
    return patience / 2 < shortest ? 0 : patience / 2;
  }

  /** One turn of the event loop. */
  #look(): void {
    this.#scheduled = false;
    const end = this.#now() + turnLength;
    let now: number;
    do {
      for (const [queue, pace] of this.#lingering) if (queue.look()) pace.found = this.#now();
      now = this.#now();
    } while (now < end);
    for (const [queue, pace] of this.#lingering) {
      if (now - pace.found >= pace.patience) this.#rest(queue, pace);
    }
    this.#goOn();
  }

  #goOn(): void {
    if (this.#scheduled || this.#lingering.size === 0) return;
    this.#scheduled = true;
    this.#nextTurn(this.#turn);
  }

  #rest(queue: PolledQueue, pace: Pace): void {
    if (queue.rest()) {
      pace.found = this.#now();
      return;
    }
    this.#lingering.delete(queue);
    pace.rested = this.#now();
  }
}
