import type { QueuePlace } from './active-queue.ts';
import type { Json } from './json.ts';

/**
 * What stands behind a device's administration virtqueues. The core knows this much and no more, so that a
 * device without them does not carry their code; `administer` gives a device one.
 */
export interface Administration {
  /** The largest size of each administration virtqueue, in descriptors. */
  readonly queues: readonly number[];
  /** What answers the commands of one of them; `undefined` for a number that none has. */
  place(number: number): QueuePlace | undefined;
  /** The device was reset: forgets all that its driver asked for. */
  reset(): void;
  save(): Json;
  /** @throws {UsageError} BAD_STATE when the state is of another administration. */
  restore(state: Json): void;
}
