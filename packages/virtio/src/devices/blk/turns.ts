import type { Eventually } from '../../device/eventually.ts';

/**
 * Bounds how much work is under way at once; the rest waits, oldest first. Work that is done when it
 * returns takes no turn at all.
 */
export class Turns {
  readonly #limit: number;
  readonly #waiting: { readonly begin: () => void; readonly alone: boolean }[] = [];
  #running = 0;
  #draining = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs `work` now, or when its turn comes. */
  run<T>(work: () => Eventually<T>): Eventually<T> {
    return this.#inTurn(work, false);
  }

  /** Runs `work` when all that came before has settled; what comes after waits until it has. */
  runAlone<T>(work: () => Eventually<T>): Eventually<T> {
    return this.#inTurn(() => {
      const result = work();
      this.#draining = result instanceof Promise;
      return result;
    }, true);
  }

  /** Whatever comes from here on waits until all that is under way has settled. */
  drain(): void {
    this.#draining = this.#running > 0;
  }

  #inTurn<T>(work: () => Eventually<T>, alone: boolean): Eventually<T> {
    if (this.#waiting.length === 0 && this.#mayStart(alone)) return this.#start(work);
    return new Promise<T>((resolve, reject) => {
      const begin = (): void => {
        try {
          resolve(this.#start(work));
        } catch (error) {
          reject(error);
        }
      };
      this.#waiting.push({ begin, alone });
    });
  }

  #mayStart(alone: boolean): boolean {
    return this.#running < (alone ? 1 : this.#limit) && !this.#draining;
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
    for (let next = this.#waiting[0]; next !== undefined && this.#mayStart(next.alone); ) {
      this.#waiting.shift();
      next.begin();
      next = this.#waiting[0];
    }
  }
}
