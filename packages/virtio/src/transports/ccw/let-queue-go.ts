import type { DeviceCore } from '../../device/core.ts';
import { disableQueue } from '../../device/disable-queue.ts';
import { defaultQueueSetup, type QueueSetup } from '../../device/queue-setup.ts';

/** A driver that lets go of a queue sets it up as nothing: it is as before the driver touched it. */
export function letQueueGo(core: DeviceCore, index: number, queue: QueueSetup): void {
  disableQueue(core, index);
  Object.assign(queue, defaultQueueSetup(queue.maxSize));
}
