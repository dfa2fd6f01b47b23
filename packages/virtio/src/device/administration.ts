import type { Chain } from '../virtqueue/chain.ts';
import type { ActiveQueue } from './active-queue.ts';
import type { Json } from './json.ts';

/**
 * What stands behind a device's administration virtqueues. The core knows this much and no more, so that a
 * device without them does not carry their code; `administer` gives a device one.
 */
export interface Administration {
  /** How many administration virtqueues there are, and the largest size of each in descriptors. */
  readonly queues: { readonly count: number; readonly size: number };
  /** Answers a command; the chain is completed when it returns, or when its promise settles. */
  readonly serve: (chain: Chain, queue: ActiveQueue) => void | Promise<void>;
  /** The device was reset: forgets all that its driver asked for. */
  reset(): void;
  save(): Json;
  /** @throws {UsageError} BAD_STATE when the state is of another administration. */
  restore(state: Json): void;
}

/** How traces and messages call an administration virtqueue. */
export const adminQueueLabel = (number: number): string => `adminq${number + 1}`;
