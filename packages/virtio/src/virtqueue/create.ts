import { type PeerError, UsageError } from '../errors.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { viewOf } from '../spec/guest-endian.ts';
import type { RingAreas } from './area.ts';
import { openDeviceQueue, splitRing } from './device-ring.ts';
import type { DriverRingOptions } from './driver-options.ts';
import { PackedDriverQueue } from './packed/driver.ts';
import { packedFormat } from './packed/layout.ts';
import { packedRing } from './packed/ring.ts';
import type { DeviceQueue, DeviceQueueState, DriverQueue, QueueAreas, RingOptions } from './queue.ts';
import { RestoredQueue } from './restored-queue.ts';
import { areasMistake, type RingFormat } from './ring-format.ts';
import { SplitDriverQueue } from './split/driver.ts';
import { splitFormat } from './split/layout.ts';
import { inOrder } from './taken-order.ts';

const formatOf = ({ packed }: { readonly packed: boolean }): RingFormat =>
  packed ? packedFormat : splitFormat;

/** How large the three areas of a queue of `size` descriptors are, and how they are aligned. */
export function ringAreas(size: number, options: { readonly packed: boolean }): RingAreas {
  return formatOf(options).areas(size);
}

/**
 * The device's end of a virtqueue that a driver has set up. What is wrong with the areas is the driver's
 * mistake, so it is returned: a size that the ring cannot have, a misaligned area, one that is not in memory.
 *
 * @throws {UsageError} BAD_ARGUMENT for a state that does not fit the queue.
 */
export function createDeviceQueue(
  memory: GuestMemory,
  areas: QueueAreas,
  options: RingOptions,
  restored?: DeviceQueueState,
): DeviceQueue | PeerError {
  checkOptions(options);
  const ring = options.packed ? packedRing : splitRing;
  const order = options.inOrder ? inOrder : undefined;
  return openDeviceQueue(
    ring,
    memory,
    areas,
    { ...options, order, viewOf: viewOf(options.endian) },
    restored && new RestoredQueue(restored),
  );
}

/**
 * The driver's end of a virtqueue; it clears the areas, so it comes before the device is told of them.
 *
 * @throws {UsageError} BAD_ARGUMENT for areas that no device could accept, or for tables without an allocator.
 *
 * @spec 2.7.1 driver: Basic Facilities of a Virtio Device / Virtqueues
 * @spec 2.8.11 driver: Basic Facilities of a Virtio Device / Packed Virtqueues
 */
export function createDriverQueue<T>(
  memory: GuestMemory,
  areas: QueueAreas,
  options: DriverRingOptions,
): DriverQueue<T> {
  checkOptions(options);
  if (options.indirectPolicy === 'always' && options.allocator === undefined) {
    throw new UsageError('BAD_ARGUMENT', 'indirect tables need an allocator');
  }
  const mistake = areasMistake(areas, formatOf(options));
  if (mistake !== undefined) throw new UsageError('BAD_ARGUMENT', mistake.message);
  const queue = options.packed
    ? new PackedDriverQueue<T>(memory, areas, options)
    : new SplitDriverQueue<T>(memory, areas, options);
  if (queue.error !== undefined) throw new UsageError('BAD_ARGUMENT', queue.error.message);
  return queue;
}

function checkOptions(options: RingOptions): void {
  if (options.packed && options.endian === 'big') {
    throw new UsageError(
      'BAD_ARGUMENT',
      'a packed ring is little-endian: there is none in the legacy interface',
    );
  }
}
