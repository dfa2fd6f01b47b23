import { PeerError, UsageError } from '../errors.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { RingAreas } from './area.ts';
import type { DriverRingOptions } from './driver-options.ts';
import { PackedDeviceQueue } from './packed/device.ts';
import { PackedDriverQueue } from './packed/driver.ts';
import { isPackedRingSize, packedRingAreas } from './packed/layout.ts';
import type { DeviceQueue, DeviceQueueState, DriverQueue, QueueAreas, RingOptions } from './queue.ts';
import { SplitDeviceQueue } from './split/device.ts';
import { SplitDriverQueue } from './split/driver.ts';
import { isSplitRingSize, splitRingAreas } from './split/layout.ts';

/** How large the three areas of a queue of `size` descriptors are, and how they are aligned. */
export function ringAreas(size: number, options: { readonly packed: boolean }): RingAreas {
  return options.packed ? packedRingAreas(size) : splitRingAreas(size);
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
  const mistake = areasMistake(areas, options);
  if (mistake !== undefined) return mistake;
  if (restored !== undefined) checkState(restored, areas.size, options);
  const queue = options.packed
    ? new PackedDeviceQueue(memory, areas, options, restored)
    : new SplitDeviceQueue(memory, areas, options, restored);
  return queue.error ?? queue;
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
  const mistake = areasMistake(areas, options);
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

function areasMistake(areas: QueueAreas, options: RingOptions): PeerError | undefined {
  const { size } = areas;
  if (!(options.packed ? isPackedRingSize(size) : isSplitRingSize(size))) {
    return new PeerError(
      'QUEUE_SIZE_INVALID',
      `no ${options.packed ? 'packed' : 'split'} ring has ${size} descriptors`,
    );
  }
  const shapes = ringAreas(size, options);
  for (const part of ['descriptor', 'driver', 'device'] as const) {
    if (areas[part] % shapes[part].alignment !== 0) {
      const code = options.packed ? 'PACKED_QUEUE_MISALIGNED' : 'QUEUE_MISALIGNED';
      return new PeerError(
        code,
        `the ${part} area at ${areas[part]} is not aligned to ${shapes[part].alignment}`,
      );
    }
  }
  return undefined;
}

function checkState(state: DeviceQueueState, size: number, options: RingOptions): void {
  const limit = options.packed ? size : 0x1_0000;
  const isPosition = (value: number) => Number.isInteger(value) && value >= 0 && value < limit;
  const isWrap = (value: number) => value === 0 || value === 1;
  const fits =
    isPosition(state.nextAvailable) &&
    isPosition(state.nextUsed) &&
    isWrap(state.availableWrap) &&
    isWrap(state.usedWrap) &&
    state.inFlight.every(({ count }) => Number.isInteger(count) && count >= 1 && count <= size) &&
    state.inFlight.every(({ readable, writable }) => (readable.length | writable.length) % 2 === 0);
  if (!fits) throw new UsageError('BAD_ARGUMENT', 'the saved state does not fit the queue');
}
