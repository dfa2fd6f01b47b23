import { UsageError } from '../errors.ts';
import type { Chain } from './chain.ts';
import type { ChainsInFlight } from './chains-in-flight.ts';
import * as notLive from './not-live.ts';
import type { DeviceQueue } from './queue.ts';

/**
 * Puts back the chain that was taken last, as if it never was: the next `take` finds it. Nothing may have been written to
 * it. The last but one can follow. No method, so that only what needs it carries it.
 *
 * @throws {UsageError} BAD_ARGUMENT for a chain that was not taken last.
 */
export function untake(queue: DeviceQueue, chain: Chain): void {
  queue.putBack(chain, putBack);
}

/** True when the ring must take its position back; false for a restored chain, and for one that a reset left behind. */
function putBack(chains: ChainsInFlight, chain: Chain): boolean {
  if (chain.turn === notLive.DEAD) return false;
  const isRestored = chain.turn <= chains.restoredTurns;
  if (chain.turn <= 0 || chains.byId[chain.id] !== chain || !(isRestored || chain.turn === chains.last)) {
    throw new UsageError('BAD_ARGUMENT', `chain ${chain.id} is not the one that was taken last`);
  }
  if (isRestored) {
    chains.restored.unshift(chain);
    // It keeps its turn, by which cursors see that they must begin anew.
    chain.readable.seek(0);
    chain.writable.seek(0);
    return false;
  }
  chains.last = chain.before;
  chains.settled++;
  chains.free(chain);
  return true;
}
