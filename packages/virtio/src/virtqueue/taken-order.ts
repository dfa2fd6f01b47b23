import type { Chain } from './chain.ts';
import * as notLive from './not-live.ts';

/** What a ring does for its order. */
export interface BatchRing {
  /** Moves the used position behind a chain, which is free then. */
  pass(chain: Chain): void;
  /** Writes one used entry for all that was passed since the last. */
  use(id: number, written: number): void;
}

/** Makes the order of a queue of so many descriptors. */
export type InOrder = (size: number, ring: BatchRing) => TakenOrder;

/**
 * VIRTIO_F_IN_ORDER for the device's end of virtqueues: buffers are used in the order in which they were taken, and early
 * completions wait. A transport offers the feature when its host lends it this, and the device wishes it.
 *
 * @example
 * new PciFunction(device, { memory, packedRing, inOrder });
 */
export const inOrder: InOrder = (size, ring) => new TakenOrder(size, ring);

/** Chains in the order in which they were taken, and the batch of them that one used entry will stand for. */
export class TakenOrder {
  readonly #ring: BatchRing;
  readonly #chains: (Chain | undefined)[];
  #head = 0;
  #count = 0;
  /** A batch is open, and its last buffer. */
  #open = false;
  #id = 0;
  #written = 0;

  constructor(size: number, ring: BatchRing) {
    this.#ring = ring;
    this.#chains = Array.from({ length: size }, () => undefined);
  }

  push(chain: Chain): void {
    this.#chains[(this.#head + this.#count) % this.#chains.length] = chain;
    this.#count++;
  }

  /** The chain that was pushed last goes back to the ring. */
  pop(): void {
    this.#count--;
  }

  /** Uses the oldest chains, as far as they were completed. */
  complete(): void {
    for (let chain = this.#shiftCompleted(); chain !== undefined; chain = this.#shiftCompleted()) {
      this.#use(chain);
    }
  }

  /** Ends the batch, so that the driver may see it. */
  closeBatch(): void {
    if (this.#open) this.#ring.use(this.#id, this.#written);
    this.#open = false;
  }

  /** Oldest first. */
  list(): Chain[] {
    return Array.from(
      { length: this.#count },
      (_, i) => this.#chains[(this.#head + i) % this.#chains.length]!,
    );
  }

  /** Takes out the oldest chain if it was completed. */
  #shiftCompleted(): Chain | undefined {
    const chain = this.#count === 0 ? undefined : this.#chains[this.#head];
    if (chain?.turn !== notLive.COMPLETED) return undefined;
    this.#head = (this.#head + 1) % this.#chains.length;
    this.#count--;
    return chain;
  }

  /**
   * One used entry stands for a whole batch, with the id of its last buffer, and the driver takes those before
   * it for completely written. So a buffer that is not ends its batch.
   */
  #use(chain: Chain): void {
    this.#open = true;
    this.#id = chain.id;
    this.#written = chain.written;
    const isWhole = chain.written === chain.writable.length;
    this.#ring.pass(chain);
    if (!isWhole) this.closeBatch();
  }
}
