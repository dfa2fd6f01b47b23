import { UsageError } from '../errors.ts';
import { Chain } from './chain.ts';
import * as notLive from './not-live.ts';

/** The chains of one device-side queue, one for each id, made when they are first needed and used again. */
export class ChainsInFlight {
  readonly #byId: (Chain | undefined)[];
  readonly #restored: Chain[] = [];
  readonly #little: boolean;
  #spare: Chain;
  #turns = 0;
  #settled = 0;

  /** `little` is the byte order of what the buffers hold. */
  constructor(size: number, little = true) {
    this.#little = little;
    this.#spare = new Chain(little);
    this.#byId = Array.from({ length: size }, () => undefined);
  }

  /** Chains that were taken and not completed. */
  get taken(): number {
    return this.#turns - this.#settled - this.#restored.length;
  }

  /** True when restored chains wait to be taken once more. */
  get hasRestored(): boolean {
    return this.#restored.length > 0;
  }

  /** True when the ring has not got the buffer of this id back. */
  has(id: number): boolean {
    const chain = this.#byId[id];
    return chain !== undefined && chain.turn !== notLive.FREE;
  }

  /** True for an id whose chain may be put in flight. */
  isFree(id: number): boolean {
    return id in this.#byId && !this.has(id);
  }

  /** The chain of an id that is not in flight, to be filled and then added. */
  at(id: number): Chain {
    return this.#byId[id] ?? this.#make(id);
  }

  /** A chain to be filled before its id is known, and then named. */
  get spare(): Chain {
    return this.#spare;
  }

  /** Makes the filled spare the chain of an id that is not in flight, and puts it into the device's hands. */
  addSpare(id: number): void {
    const chain = this.#spare;
    this.#spare = this.at(id);
    this.#byId[id] = chain;
    chain.id = id;
    this.add(chain);
  }

  /** Puts a filled chain into the device's hands. */
  add(chain: Chain): void {
    chain.turn = ++this.#turns;
    chain.written = 0;
  }

  /** Adds a filled chain that was in flight before a restore; with its used length, if it was completed. */
  addRestored(chain: Chain, completed: number | undefined): void {
    this.add(chain);
    if (completed === undefined) {
      this.#restored.push(chain);
    } else {
      chain.turn = notLive.COMPLETED;
      chain.written = completed;
      this.#settled++;
    }
  }

  /** The oldest restored chain that was not taken since. */
  takeRestored(): Chain | undefined {
    return this.#restored.shift();
  }

  /**
   * Ends a chain that the device gives back; false for one that a reset left behind.
   *
   * @throws {UsageError} CHAIN_COMPLETED for one that was given back before, BAD_ARGUMENT for another queue's.
   */
  settle(chain: Chain): boolean {
    if (chain.turn <= 0 || this.#byId[chain.id] !== chain) return this.#refuse(chain);
    chain.turn = notLive.COMPLETED;
    this.#settled++;
    return true;
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
    for (const chain of this.#byId) {
      if (chain !== undefined && chain.turn !== notLive.FREE) chain.turn = notLive.DEAD;
    }
    this.#byId.fill(undefined);
    this.#restored.length = 0;
    this.#settled = this.#turns;
  }

  /** The chains that the device has, oldest first. */
  live(): Chain[] {
    return this.#byId
      .filter((chain) => chain !== undefined)
      .filter((chain) => chain.live)
      .sort((a, b) => a.turn - b.turn);
  }

  #make(id: number): Chain {
    const chain = new Chain(this.#little);
    chain.id = id;
    this.#byId[id] = chain;
    return chain;
  }
}
