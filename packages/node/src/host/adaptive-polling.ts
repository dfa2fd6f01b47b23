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

/** How long a turn looks before the event loop has the next one, in milliseconds: what else happens waits so long. */
const turnLength = 0.005;
/** What it saves both sides, about, that something was found and not told of, in milliseconds. */
const savedByFind = 0.01;
/** The most notifications that pass until looking is tried again. */
const mostToPass = 1024;

/** What is known of one queue. Times are in milliseconds. */
interface Pace {
  /** When it was last let rest. */
  rested: number;
  /** When it last had something. */
  lastFound: number;
  /** How often it had something since it was last notified. */
  finds: number;
  /** Notifications to pass before it is looked at again. */
  toPass: number;
  /** How many to pass when looking does not pay the next time. */
  nextToPass: number;
}

/**
 * Looks at queues in the turns of the event loop, as long as that pays: when the notification came soon after the last
 * one was served, and when looking lately found enough for the time it took. It does not where the driver and this
 * process share a processor, or where the driver takes its time; then it is tried again ever more seldom. A queue that is
 * idle, or seldom used, costs nothing.
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
    pace.lastFound = now;
    pace.finds = 0;
    // Within its rest a queue may be found to have something, and linger again.
    this.#lingering.set(queue, pace);
    if (!this.#mayPay(pace, now)) this.#rest(queue, pace);
    this.#goOn();
  }

  #paceOf(queue: PolledQueue): Pace {
    const known = this.#paces.get(queue);
    if (known !== undefined) return known;
    const pace = { rested: Number.NEGATIVE_INFINITY, lastFound: 0, finds: 0, toPass: 0, nextToPass: 1 };
    this.#paces.set(queue, pace);
    return pace;
  }

  #mayPay(pace: Pace, now: number): boolean {
    if (now - pace.rested > this.#longest) return false;
    if (pace.toPass === 0) return true;
    pace.toPass--;
    return false;
  }

  /** One turn of the event loop. */
  #look(): void {
    this.#scheduled = false;
    const end = this.#now() + turnLength;
    let now: number;
    do {
      for (const [queue, pace] of this.#lingering) if (queue.look()) this.#found(pace);
      now = this.#now();
    } while (now < end);
    for (const [queue, pace] of this.#lingering) {
      if (now - pace.lastFound < this.#longest) continue;
      this.#judge(pace);
      this.#rest(queue, pace);
    }
    this.#goOn();
  }

  #goOn(): void {
    if (this.#scheduled || this.#lingering.size === 0) return;
    this.#scheduled = true;
    this.#nextTurn(this.#turn);
  }

  #found(pace: Pace): void {
    pace.lastFound = this.#now();
    pace.finds++;
  }

  /** The last look took its whole time, for nothing. */
  #judge(pace: Pace): void {
    const paid = pace.finds * savedByFind >= this.#longest;
    pace.toPass = paid ? 0 : pace.nextToPass;
    pace.nextToPass = paid ? 1 : Math.min(mostToPass, 2 * pace.nextToPass);
  }

  #rest(queue: PolledQueue, pace: Pace): void {
    if (queue.rest()) {
      this.#found(pace);
      return;
    }
    this.#lingering.delete(queue);
    pace.rested = this.#now();
  }
}
