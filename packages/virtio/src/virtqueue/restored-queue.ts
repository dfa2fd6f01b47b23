import { UsageError } from '../errors.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { Chain } from './chain.ts';
import type { ChainsInFlight } from './chains-in-flight.ts';
import * as notLive from './not-live.ts';
import type { DeviceQueueState } from './queue.ts';
import { restoreChain } from './saved-chain.ts';

/** A saved position for a device-side ring to begin at, with the chains that were in flight there. */
export class RestoredQueue {
  readonly state: DeviceQueueState;

  constructor(state: DeviceQueueState) {
    this.state = state;
  }

  /**
   * `positions` is how many the ring tells apart, `size` its descriptors.
   *
   * @throws {UsageError} BAD_ARGUMENT for a state that does not fit such a queue.
   */
  check(positions: number, size: number): void {
    const { nextAvailable, nextUsed, availableWrap, usedWrap, inFlight } = this.state;
    const isPosition = (value: number) => Number.isInteger(value) && value >= 0 && value < positions;
    const isWrap = (value: number) => value === 0 || value === 1;
    const fits =
      isPosition(nextAvailable) &&
      isPosition(nextUsed) &&
      isWrap(availableWrap) &&
      isWrap(usedWrap) &&
      inFlight.every(({ count }) => Number.isInteger(count) && count >= 1 && count <= size) &&
      inFlight.every(({ readable, writable }) => (readable.length | writable.length) % 2 === 0);
    if (!fits) throw new UsageError('BAD_ARGUMENT', 'the saved state does not fit the queue');
  }

  /**
   * Puts the chains back, to be taken once more; gives them oldest first, or `undefined` when one lies outside memory.
   *
   * @throws {UsageError} BAD_ARGUMENT for an id that is out of range or there twice.
   */
  putBack(chains: ChainsInFlight, memory: GuestMemory): Chain[] | undefined {
    const restored: Chain[] = [];
    for (const one of this.state.inFlight) {
      const chain = one.id in chains.byId ? chains.at(one.id) : undefined;
      if (chain?.turn !== notLive.FREE) {
        throw new UsageError('BAD_ARGUMENT', `saved chain ${one.id} does not fit the queue`);
      }
      if (!restoreChain(chain, one, memory)) return undefined;
      chains.add(chain);
      if (one.completed === undefined) {
        chains.restored.push(chain);
      } else {
        chains.settle(chain);
        chain.written = one.completed;
      }
      restored.push(chain);
    }
    chains.restoredAll();
    return restored;
  }
}
