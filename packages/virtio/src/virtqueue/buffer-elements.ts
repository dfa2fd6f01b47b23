import { UsageError } from '../errors.ts';
import type { BufferElement } from './queue.ts';

/**
 * The bytes of some elements of a buffer.
 *
 * @throws {UsageError} BAD_ARGUMENT for an address or a length that no descriptor can hold.
 */
export function totalLength(elements: readonly BufferElement[]): number {
  let total = 0;
  for (let i = 0; i < elements.length; i++) {
    const { address, length } = elements[i]!;
    if (!(Number.isSafeInteger(address) && address >= 0 && length >= 0 && Number.isInteger(length))) {
      throw new UsageError('BAD_ARGUMENT', `no element has ${length} bytes at address ${address}`);
    }
    total += length;
  }
  return total;
}

/**
 * @throws {UsageError} BAD_ARGUMENT for a buffer without elements, with more than Queue Size of them, or with
 * 2^32 bytes or more.
 *
 * @spec 2.7.5.2 driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table
 */
export function checkBuffer(count: number, size: number, bytes: number): void {
  if (count === 0) throw new UsageError('BAD_ARGUMENT', 'a buffer has at least one element');
  if (count > size) {
    throw new UsageError('BAD_ARGUMENT', `a buffer of ${count} elements exceeds the queue size ${size}`);
  }
  if (bytes >= 2 ** 32) throw new UsageError('BAD_ARGUMENT', `a buffer of ${bytes} bytes exceeds 4 GiB`);
}
