import type { PeerError } from '../errors.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { DeviceQueue, DeviceRingOptions, QueueAreas } from './queue.ts';
import type { RestoredQueue } from './restored-queue.ts';
import { areasMistake, type RingFormat } from './ring-format.ts';
import { SplitDeviceQueue } from './split/device.ts';
import { splitFormat } from './split/layout.ts';

/** The device's end of one of the two kinds of virtqueue, as a value: a bundle has those that it names. */
export interface DeviceRing {
  readonly format: RingFormat;
  /** @internal */
  make(
    memory: GuestMemory,
    areas: QueueAreas,
    options: DeviceRingOptions,
    restored: RestoredQueue | undefined,
  ): DeviceQueue;
}

/** Split virtqueues (2.7): every device knows them. */
export const splitRing: DeviceRing = {
  format: splitFormat,
  make: (memory, areas, options, restored) => new SplitDeviceQueue(memory, areas, options, restored),
};

/**
 * The device's end of a virtqueue that a driver has set up. What is wrong with the areas is the driver's
 * mistake, so it is returned: a size that the ring cannot have, a misaligned area, one that is not in memory.
 *
 * @throws {UsageError} BAD_ARGUMENT for a state that does not fit the queue.
 */
export function openDeviceQueue(
  ring: DeviceRing,
  memory: GuestMemory,
  areas: QueueAreas,
  options: DeviceRingOptions,
  restored?: RestoredQueue,
): DeviceQueue | PeerError {
  const mistake = areasMistake(areas, ring.format);
  if (mistake !== undefined) return mistake;
  const queue = ring.make(memory, areas, options, restored);
  return queue.error ?? queue;
}
