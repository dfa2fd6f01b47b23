import { UsageError } from '../errors.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { Chain } from './chain.ts';
import type { SavedChain } from './queue.ts';
import type { Segments } from './segments.ts';

/** The chains of one device-side queue: those that the device has, by id, and the pool that they come from. */
export class ChainsInFlight {
  readonly #byId: (Chain | undefined)[];
  readonly #pool: Chain[] = [];
  readonly #restored: Chain[] = [];
  #taken = 0;
  #orders = 0;

  constructor(size: number) {
    this.#byId = Array.from({ length: size }, () => undefined);
  }

  /** Chains that were taken and not completed. */
  get taken(): number {
    return this.#taken;
  }

  /** True when restored chains wait to be taken once more. */
  get hasRestored(): boolean {
    return this.#restored.length > 0;
  }

  has(id: number): boolean {
    return this.#byId[id] !== undefined;
  }

  /** An empty chain to be filled, and then either added or forgotten. */
  fresh(): Chain {
    return this.#pool.pop() ?? new Chain();
  }

  /** Puts a filled chain, started under its id, into the device's hands. */
  add(chain: Chain): void {
    chain.order = this.#orders++;
    this.#byId[chain.id] = chain;
    this.#taken++;
  }

  /** The oldest restored chain that was not taken since. */
  takeRestored(): Chain | undefined {
    const chain = this.#restored.shift();
    if (chain !== undefined) this.#taken++;
    return chain;
  }

  /**
   * Ends a chain that the device gives back; false for one that a reset left behind.
   *
   * @throws {UsageError} CHAIN_COMPLETED for one that was given back before, BAD_ARGUMENT for another queue's.
   */
  settle(chain: Chain): boolean {
    if (this.#byId[chain.id] === chain && chain.live) {
      chain.end('completed');
      this.#taken--;
      return true;
    }
    if (chain.state === 'dead') return false;
    if (chain.live) throw new UsageError('BAD_ARGUMENT', `chain ${chain.id} belongs to another queue`);
    throw new UsageError('CHAIN_COMPLETED', `chain ${chain.id} was completed before`);
  }

  /** Takes a settled chain back into the pool. */
  recycle(chain: Chain): void {
    this.#byId[chain.id] = undefined;
    chain.segments.clear();
    this.#pool.push(chain);
  }

  /** Every chain in flight dies where it is; none is used again. */
  close(): void {
    for (const chain of this.#byId) chain?.end('dead');
    this.#byId.fill(undefined);
    this.#pool.length = 0;
    this.#restored.length = 0;
    this.#taken = 0;
  }

  /** What is in flight, oldest first. */
  save(): SavedChain[] {
    return this.#byId
      .filter((chain) => chain !== undefined)
      .sort((a, b) => a.order - b.order)
      .map(savedChain);
  }

  /**
   * Puts saved chains back, to be taken once more; gives them oldest first, or `undefined` when one lies
   * outside memory.
   *
   * @throws {UsageError} BAD_ARGUMENT for an id that is out of range or there twice.
   */
  restore(saved: readonly SavedChain[], memory: GuestMemory): Chain[] | undefined {
    const chains: Chain[] = [];
    for (const state of saved) {
      if (!(state.id in this.#byId) || this.has(state.id)) {
        throw new UsageError('BAD_ARGUMENT', `saved chain ${state.id} does not fit the queue`);
      }
      const chain = restoredChain(state, memory);
      if (chain === undefined) return undefined;
      chain.order = this.#orders++;
      this.#byId[state.id] = chain;
      if (chain.live) this.#restored.push(chain);
      chains.push(chain);
    }
    return chains;
  }
}

function savedChain(chain: Chain): SavedChain {
  const { segments, writable } = chain;
  const { writableFrom, count } = segments;
  return {
    id: chain.id,
    count: chain.entries,
    readable: savedElements(segments, 0, writableFrom),
    writable: savedElements(segments, writableFrom, count),
    ...(chain.live ? {} : { completed: writable.written }),
  };
}

function savedElements(segments: Segments, first: number, stop: number): number[] {
  const elements: number[] = [];
  for (let i = first; i < stop; i++) elements.push(segments.addresses[i]!, segments.lengths[i]!);
  return elements;
}

function restoredChain(saved: SavedChain, memory: GuestMemory): Chain | undefined {
  const chain = new Chain();
  const { segments } = chain;
  if (!addElements(segments, saved.readable, memory, false)) return undefined;
  if (!addElements(segments, saved.writable, memory, true)) return undefined;
  chain.start(saved.id);
  chain.entries = saved.count;
  if (saved.completed !== undefined) {
    chain.writable.restoreWritten(saved.completed);
    chain.end('completed');
  }
  return chain;
}

function addElements(
  segments: Segments,
  elements: readonly number[],
  memory: GuestMemory,
  isWritable: boolean,
): boolean {
  for (let i = 0; i + 1 < elements.length; i += 2) {
    if (segments.add(memory, elements[i]!, elements[i + 1]!, isWritable) !== undefined) return false;
  }
  return true;
}
