import { UsageError } from '../errors.ts';
import type { ViewOf } from '../spec/guest-endian.ts';
import { Chain } from './chain.ts';
import * as notLive from './not-live.ts';

/** The chains of one device-side queue, one for each id, made when they are first needed and used again. */
export class ChainsInFlight {
  /** @internal */
  readonly byId: (Chain | undefined)[];
  /** @internal Chains that wait to be taken once more, oldest first. */
  readonly restored: Chain[] = [];
  readonly #viewOf: ViewOf | undefined;
  /** @internal The turn of what was taken last, and not put back. */
  last = 0;
  /** @internal Turns up to this are those of restored chains. */
  restoredTurns = 0;
  /** @internal Chains that are not in the device's hands any more. */
  settled = 0;
  #turns = 0;

  /** `viewOf` tells the byte order of what the buffers hold, if it is not little-endian. */
  constructor(size: number, viewOf?: ViewOf) {
    this.#viewOf = viewOf;
    this.byId = Array.from({ length: size }, () => undefined);
  }

  /** Chains that were taken and not completed. */
  get taken(): number {
    return this.#turns - this.settled - this.restored.length;
  }

  /** The chain of an id that is not in flight, to be filled and then added. */
  at(id: number): Chain {
    return this.byId[id] ?? this.#make(id);
  }

  /** Puts a filled chain into the device's hands. */
  add(chain: Chain): void {
    chain.before = this.last;
    chain.turn = ++this.#turns;
    this.last = chain.turn;
    chain.written = 0;
  }

  /**
   * Ends a chain that the device gives back; false for one that a reset left behind.
   *
   * @throws {UsageError} CHAIN_COMPLETED for one that was given back before, BAD_ARGUMENT for another queue's.
   */
  settle(chain: Chain): boolean {
    if (chain.turn <= 0 || this.byId[chain.id] !== chain) return this.#refuse(chain);
    chain.turn = notLive.COMPLETED;
    this.settled++;
    return true;
  }

  /** All that was added so far was taken in another life of the queue. */
  restoredAll(): void {
    this.restoredTurns = this.#turns;
  }

  /** The ring has a settled chain back. */
  free(chain: Chain): void {
    chain.turn = notLive.FREE;
    chain.trim();
  }

  #refuse(chain: Chain): false {
    if (chain.turn === notLive.DEAD) return false;
    if (chain.live) throw new UsageError('BAD_ARGUMENT', `chain ${chain.id} belongs to another queue`);
    throw new UsageError('CHAIN_COMPLETED', `chain ${chain.id} was completed before`);
  }

  /** Every chain in flight dies where it is; none is used again. */
  close(): void {
    for (const chain of this.byId) {
      if (chain !== undefined && chain.turn !== notLive.FREE) chain.turn = notLive.DEAD;
    }
    this.byId.fill(undefined);
    this.restored.length = 0;
    this.settled = this.#turns;
  }

  #make(id: number): Chain {
    const chain = new Chain(this.#viewOf);
    chain.id = id;
    this.byId[id] = chain;
    return chain;
  }
}
