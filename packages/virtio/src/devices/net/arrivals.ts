import type { ActiveQueue } from '../../device/active-queue.ts';

/**
 * Of frames that follow each other at once a driver is told together: each interrupt costs it, and us, more than a frame. When
 * a quarter of a queue is left it is told meanwhile, so that it fills the queue again while more come.
 */
export class Arrivals {
  readonly #untold: ActiveQueue[] = [];
  #buffers = 0;
  #follow = false;

  /** More frames follow at once, or no more do. */
  more(follow: boolean): void {
    this.#follow = follow;
    if (follow) return;
    // What a driver does when it is told may have more come.
    for (let queue = this.#untold.pop(); queue !== undefined; queue = this.#untold.pop()) {
      this.#buffers = 0;
      queue.notify();
    }
  }

  /** So many buffers were given back: false when their driver is told later. */
  due(queue: ActiveQueue, buffers: number): boolean {
    if (!this.#follow) return true;
    this.#buffers += buffers;
    const at = this.#untold.indexOf(queue);
    if (this.#buffers * 4 < queue.size * 3) {
      if (at < 0) this.#untold.push(queue);
      return false;
    }
    this.#buffers = 0;
    if (at >= 0) this.#untold.splice(at, 1);
    return true;
  }

  /** Nobody is there any more who is to be told. */
  reset(): void {
    this.#untold.length = 0;
    this.#buffers = 0;
  }
}
