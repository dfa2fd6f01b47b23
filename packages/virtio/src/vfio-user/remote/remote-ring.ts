import type { DeviceCore } from '../../device/core.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { DeviceRing } from '../../virtqueue/device-ring.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import type { ClientMemory } from './client-memory.ts';
import { type QueueWaker, RemoteQueue } from './remote-queue.ts';

/**
 * For a device's host: has rings that stand in memory which the client does not share reach it by messages. All others use
 * memory in place as ever. `opened` hears of every ring.
 */
export const remoteRing =
  (client: ClientMemory, waker: QueueWaker, opened: (ring: DeviceRing, areas: QueueAreas) => void) =>
  (ring: DeviceRing): DeviceRing => ({
    format: ring.format,
    make(memory, areas, options, restored) {
      opened(ring, areas);
      return standsIn(memory, ring, areas)
        ? ring.make(memory, areas, options, restored)
        : new RemoteQueue(ring, areas, options, restored, client, waker);
    },
  });

function standsIn(memory: GuestMemory, { format }: DeviceRing, areas: QueueAreas): boolean {
  const { descriptor, driver, device } = format.areas(areas.size);
  return (
    memory.contains(areas.descriptor, descriptor.length) &&
    memory.contains(areas.driver, driver.length) &&
    memory.contains(areas.device, device.length)
  );
}

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
