import type { Clock } from './clock.ts';

/** Something with a moment at which it wants to be called. */
export interface Due {
  /** When, in the clock's milliseconds; Infinity for never. May move to later at any time, with nobody told. */
  readonly deadline: number;
  /** Its moment has come; it may have moved. */
  due(now: number): void;
  /** Kept by {@link Deadlines}: the moment that it is filed under, and where; -1 when it is not. */
  filedAt: number;
  filed: number;
}

/**
 * The moments of many, over one timer: a heap. One that moves to later, as nearly all do all the time, stays where it is
 * until its old moment comes.
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #after: () => void;
  readonly #heap: Due[] = [];
  #armedFor = Number.POSITIVE_INFINITY;
  #cancel: () => void = () => {};

  /** @param after called behind each time when something was due */
  constructor(clock: Clock, after: () => void) {
    this.#clock = clock;
    this.#after = after;
  }

  /** Those that are filed. */
  get size(): number {
    return this.#heap.length;
  }

  /** One's moment is new, or has moved to earlier. */
  file(one: Due): void {
    const { deadline } = one;
    if (one.filed >= 0) {
      if (deadline >= one.filedAt) return;
      one.filedAt = deadline;
      this.#up(one.filed, one);
    } else {
      if (deadline === Number.POSITIVE_INFINITY) return;
      one.filedAt = deadline;
      this.#heap.push(one);
      this.#up(this.#heap.length - 1, one);
    }
    this.#arm();
  }

  /** One is gone. */
  remove(one: Due): void {
    const at = one.filed;
    if (at < 0) return;
    one.filed = -1;
    const last = this.#heap.pop()!;
    if (last === one) return;
    this.#up(at, last);
    this.#down(last.filed, last);
  }

  /** Nobody's moment comes any more. */
  clear(): void {
    for (const one of this.#heap) one.filed = -1;
    this.#heap.length = 0;
    this.#cancel();
    this.#armedFor = Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    const first = this.#heap[0];
    if (first === undefined || first.filedAt >= this.#armedFor) return;
    this.#cancel();
    this.#armedFor = first.filedAt;
    this.#cancel = this.#clock.setTimer(Math.max(0, first.filedAt - this.#clock.now()), () => this.#fire());
  }

  #fire(): void {
    this.#armedFor = Number.POSITIVE_INFINITY;
    this.#cancel = () => {};
    const now = this.#clock.now();
    try {
      for (let first = this.#heap[0]; first !== undefined && first.filedAt <= now; first = this.#heap[0]) {
        this.remove(first);
        if (first.deadline <= now) first.due(now);
        this.file(first);
      }
      this.#after();
    } finally {
      this.#arm();
    }
  }

  #up(from: number, one: Due): void {
    const heap = this.#heap;
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const other = heap[above]!;
      if (other.filedAt <= one.filedAt) break;
      heap[at] = other;
      other.filed = at;
      at = above;
    }
    heap[at] = one;
    one.filed = at;
  }

  #down(from: number, one: Due): void {
    const heap = this.#heap;
    let at = from;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && heap[below + 1]!.filedAt < heap[below]!.filedAt) below++;
      const other = heap[below]!;
      if (other.filedAt >= one.filedAt) break;
      heap[at] = other;
      other.filed = at;
      at = below;
    }
    heap[at] = one;
    one.filed = at;
  }
}
