import type { DeviceCore } from '../../device/core.ts';
import type { DeviceRing } from '../../virtqueue/device-ring.ts';
import type { DmaRegions } from '../dma-regions.ts';
import type { ClientMemory } from './client-memory.ts';
import { type QueueWaker, RemoteQueue } from './remote-queue.ts';

/**
 * For a device's host: has rings reach memory that the client does not share by messages. Where it shares all, rings use it in
 * place as ever. What it does is decided when a queue is enabled.
 */
export const remoteRing =
  (dma: DmaRegions, client: ClientMemory, waker: QueueWaker) =>
  (ring: DeviceRing): DeviceRing => ({
    format: ring.format,
    make: (memory, areas, options, restored) =>
      dma.someByMessages
        ? new RemoteQueue(ring, areas, options, restored, client, waker)
        : ring.make(memory, areas, options, restored),
  });

/** Finds the queues of a device, which is there once its host is. */
export function queueWaker(core: () => DeviceCore | undefined): QueueWaker {
  return {
    find: (ring) => core()?.session.queues.find((queue) => queue?.ring === ring),
    process: (queue) => core()?.process(queue),
    interrupt: (queue) => core()?.interrupt(queue),
    failed: (queue, error) => core()?.failed(queue, error),
    settled: () => core()?.cameBack(),
  };
}
