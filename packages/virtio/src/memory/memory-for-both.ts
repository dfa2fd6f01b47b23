import { Allocator } from './allocator.ts';
import { GuestMemory } from './guest-memory.ts';

/** Engines collect garbage by the bytes of buffers: 16 MiB would double what a program of many loopbacks costs. */
const defaultLength = 4 * 2 ** 20;
/** Address 0 stays free, since drivers take it for "none". */
const guardLength = 4096;

/**
 * Memory that a device and its driver in one process share, 4 MiB of its own unless told, and the driver's part of
 * it: all of the first region but its first page, unless told.
 */
export function memoryForBoth(given: {
  readonly memory?: GuestMemory | undefined;
  readonly allocator?: Allocator | undefined;
}): { readonly memory: GuestMemory; readonly allocator: Allocator } {
  const memory = given.memory ?? GuestMemory.ofSize(defaultLength);
  const { start = 0, length = 0 } = memory.regions[0] ?? {};
  const ownPart = (): Allocator => new Allocator(start + guardLength, Math.max(0, length - guardLength));
  return { memory, allocator: given.allocator ?? ownPart() };
}
