import type { Chain } from './chain.ts';
import * as notLive from './not-live.ts';

/** Chains in the order in which they were taken, for VIRTIO_F_IN_ORDER. */
export class TakenOrder {
  readonly #chains: (Chain | undefined)[];
  #head = 0;
  #count = 0;

  constructor(size: number) {
    this.#chains = Array.from({ length: size }, () => undefined);
  }

  push(chain: Chain): void {
    this.#chains[(this.#head + this.#count) % this.#chains.length] = chain;
    this.#count++;
  }

  /** Takes out the oldest chain if it was completed. */
  shiftCompleted(): Chain | undefined {
    const chain = this.#count === 0 ? undefined : this.#chains[this.#head];
    if (chain?.turn !== notLive.COMPLETED) return undefined;
    this.#head = (this.#head + 1) % this.#chains.length;
    this.#count--;
    return chain;
  }

  /** Oldest first. */
  list(): Chain[] {
    return Array.from(
      { length: this.#count },
      (_, i) => this.#chains[(this.#head + i) % this.#chains.length]!,
    );
  }
}
