import { PeerError } from '../errors.ts';
import { Allocator } from '../memory/allocator.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { createDeviceQueue, createDriverQueue, ringAreas } from './create.ts';
import type { DriverRingOptions } from './driver-options.ts';
import type { DeviceQueue, DeviceQueueState, DriverQueue, QueueAreas } from './queue.ts';

/** A little-endian ring of either kind without any feature, to be spread and changed. */
export const plain = {
  packed: false,
  eventIdx: false,
  indirect: false,
  inOrder: false,
  endian: 'little',
} as const satisfies DriverRingOptions;

/** A driver and a device over one memory, joined by a queue. */
export interface Pair {
  readonly memory: GuestMemory;
  readonly allocator: Allocator;
  readonly areas: QueueAreas;
  readonly options: DriverRingOptions;
  readonly driver: DriverQueue<number>;
  readonly device: DeviceQueue;
}

/** Places the three areas of a queue. */
export function placeAreas(allocator: Allocator, size: number, packed: boolean): QueueAreas {
  const shapes = ringAreas(size, { packed });
  return {
    size,
    descriptor: allocator.allocate(shapes.descriptor.length, shapes.descriptor.alignment),
    driver: allocator.allocate(shapes.driver.length, shapes.driver.alignment),
    device: allocator.allocate(shapes.device.length, shapes.device.alignment),
  };
}

export function makePair(
  size: number,
  options: Partial<DriverRingOptions> = {},
  memory: GuestMemory = GuestMemory.ofSize(size > 256 ? 0x40_0000 : 0x4_0000, 0x1000),
): Pair {
  const region = memory.regions[0]!;
  const allocator = new Allocator(region.start, region.length);
  const full: DriverRingOptions = { ...plain, ...options, allocator };
  const areas = placeAreas(allocator, size, full.packed);
  const driver = createDriverQueue<number>(memory, areas, full);
  return { memory, allocator, areas, options: full, driver, device: openDevice(memory, areas, full) };
}

export function openDevice(
  memory: GuestMemory,
  areas: QueueAreas,
  options: DriverRingOptions,
  restored?: DeviceQueueState,
): DeviceQueue {
  const queue = createDeviceQueue(memory, areas, options, restored);
  if (queue instanceof PeerError) throw queue;
  return queue;
}

/** Every combination of the ring's features, with a name for each. */
export const everyRing: readonly { readonly name: string; readonly options: DriverRingOptions }[] = [
  false,
  true,
].flatMap((packed) =>
  [false, true].flatMap((eventIdx) =>
    [false, true].flatMap((indirect) =>
      [false, true].map((inOrder) => ({
        name: [
          packed ? 'packed' : 'split',
          eventIdx ? 'event index' : 'flags',
          indirect ? 'indirect' : 'direct',
          inOrder ? 'in order' : 'any order',
        ].join(', '),
        options: { ...plain, packed, eventIdx, indirect, inOrder },
      })),
    ),
  ),
);
