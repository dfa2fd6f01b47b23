import { UsageError } from '../errors.ts';
import { isPowerOfTwo } from '../spec/power-of-two.ts';
import type { QueueAreas } from './queue.ts';
import { isSplitRingSize, splitRingAreas } from './split/layout.ts';

/** A virtqueue of the legacy interface: one piece of memory with the three areas of a split ring in it. */
export interface LegacyLayout {
  readonly areas: QueueAreas;
  /** Bytes in all, padding included. */
  readonly length: number;
}

/**
 * The contiguous layout of the legacy interface (2.7.2): the used ring starts at the next multiple of
 * `queueAlign` bytes behind the available ring. `start` is a guest address in bytes, itself so aligned.
 *
 * @throws {UsageError} BAD_ARGUMENT for a size that is no power of two up to 32768, or an alignment that is
 * no power of two of at least 4.
 */
export function legacyLayout(start: number, size: number, queueAlign = 4096): LegacyLayout {
  if (!isSplitRingSize(size)) throw new UsageError('BAD_ARGUMENT', `no split ring has ${size} descriptors`);
  if (!(queueAlign >= 4 && isPowerOfTwo(queueAlign))) {
    throw new UsageError('BAD_ARGUMENT', `Queue Align cannot be ${queueAlign}`);
  }
  const { descriptor, driver, device } = splitRingAreas(size);
  const align = (length: number) => Math.ceil(length / queueAlign) * queueAlign;
  const usedOffset = align(descriptor.length + driver.length);
  return {
    areas: { size, descriptor: start, driver: start + descriptor.length, device: start + usedOffset },
    length: usedOffset + align(device.length),
  };
}
