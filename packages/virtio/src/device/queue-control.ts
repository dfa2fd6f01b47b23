import { status } from '../spec/status.ts';
import type { DeviceQueueState } from '../virtqueue/queue.ts';
import { RestoredQueue } from '../virtqueue/restored-queue.ts';
import { saveQueue } from '../virtqueue/saved-chain.ts';
import type { ActiveQueue, QueueWatch } from './active-queue.ts';
import type { DeviceCore } from './core.ts';
import { disableQueue } from './disable-queue.ts';

// What a transport needs whose queues stop and go on by themselves, apart from the device's status.

/**
 * Enables a queue of a live device, which goes on where another device, or another life of this one, has stopped. What
 * was in flight there is taken once more first. Does nothing when it is enabled, or the device is not live.
 *
 * @throws {UsageError} BAD_ARGUMENT for a state that does not fit the queue.
 */
export function startQueue(
  core: DeviceCore,
  index: number,
  from: DeviceQueueState,
  watch?: QueueWatch,
): void {
  const setup = core.queue(index);
  if (setup === undefined || setup.enabled || !core.live) return;
  setup.enabled = true;
  core.openQueue(index, new RestoredQueue(from), watch);
}

/** Nothing is taken from a queue while it is held. What was taken goes on. */
export function holdQueue(core: DeviceCore, index: number, held: boolean): void {
  const queue = core.session.queues[index];
  if (queue === undefined || queue.held === held) return;
  queue.held = held;
  if (!held) core.notify(index);
}

/**
 * Takes a queue out of use without a loss: nothing more is taken, and when all that was taken has been completed, it is
 * disabled. Gives where `startQueue` may go on; `undefined` when the queue is not live, or the device was reset meanwhile.
 */
export async function stopQueue(core: DeviceCore, index: number): Promise<DeviceQueueState | undefined> {
  const queue = core.session.queues[index];
  if (queue === undefined) return undefined;
  queue.held = true;
  while (isBusy(queue) && (core.status & status.DEVICE_NEEDS_RESET) === 0) await core.change();
  if (!queue.live) return undefined;
  const state = saveQueue(queue.ring);
  disableQueue(core, index);
  return state;
}

function isBusy({ live, ring }: ActiveQueue): boolean {
  return live && ring.error === undefined && ring.inFlight > 0;
}
