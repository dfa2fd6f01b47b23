import type { Storage } from './storage.ts';

/** Flushes a storage; those who ask while a flush is under way share the next one. */
export class Flusher {
  readonly #storage: Storage;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** Makes every write that completed before this call stable. */
  flush(): void | Promise<void> {
    // The flush under way may have begun before the writes that this call is about.
    if (this.#running !== undefined) this.#next ??= this.#afterRunning(this.#running);
    else return this.#start();
    return this.#next;
  }

  #start(): void | Promise<void> {
    const pending = this.#storage.flush();
    if (pending === undefined) return;
    const running = pending.finally(() => {
      this.#running = undefined;
    });
    this.#running = running;
    return running;
  }

  async #afterRunning(running: Promise<void>): Promise<void> {
    // Whoever asked for that flush hears of its failure.
    await running.catch(() => {});
    this.#next = undefined;
    await this.flush();
  }
}
