import type { Eventually } from './eventually.ts';

/**
 * Bounds how much work is under way at once; the rest waits, oldest first. Work that is done when it
 * returns takes no turn at all.
 */
export class Turns {
  readonly #limit: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #draining = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs `work` now, or when its turn comes. */
  run<T>(work: () => Eventually<T>): Eventually<T> {
    if (this.#mayStart() && this.#waiting.length === 0) return this.#start(work);
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push(() => {
        try {
          resolve(this.#start(work));
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  /** Whatever comes from here on waits until all that is under way has settled. */
  drain(): void {
    this.#draining = this.#running > 0;
  }

  #mayStart(): boolean {
    return this.#running < this.#limit && !this.#draining;
  }

  #start<T>(work: () => Eventually<T>): Eventually<T> {
    const result = work();
    if (!(result instanceof Promise)) return result;
    this.#running++;
    return result.finally(() => this.#ended());
  }

  #ended(): void {
    this.#running--;
    if (this.#running === 0) this.#draining = false;
    while (this.#waiting.length > 0 && this.#mayStart()) this.#waiting.shift()?.();
  }
}
