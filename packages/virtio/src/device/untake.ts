import type { Chain } from '../virtqueue/chain.ts';
import { untake as untakeFromRing } from '../virtqueue/untake.ts';
import type { ActiveQueue } from './active-queue.ts';

/**
 * Puts back the chain that was taken last, to which nothing was written, as if it never was taken; then the one before
 * it can follow. For a device that finds only then that it cannot use it yet. A chain of before a reset is ignored.
 *
 * @throws {UsageError} BAD_ARGUMENT for a chain that was not taken last.
 */
export function untake(queue: ActiveQueue, chain: Chain): void {
  if (!queue.live) return;
  if (chain.live) queue.watch?.untaken(chain);
  untakeFromRing(queue.ring, chain);
  queue.owner.cameBack();
}
