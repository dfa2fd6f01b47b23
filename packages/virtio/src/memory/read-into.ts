import type { GuestMemory } from './guest-memory.ts';

/**
 * Copies guest memory from `address` on until `target` is full: `memory.read` without a new array.
 *
 * @throws {UsageError} OUT_OF_BOUNDS when any of the bytes is not memory.
 */
export function readInto(memory: GuestMemory, address: number, target: Uint8Array): void {
  const region = memory.find(address, target.length);
  if (region === undefined) {
    target.set(memory.read(address, target.length));
    return;
  }
  const at = address - region.start;
  target.set(region.bytes.subarray(at, at + target.length));
}
