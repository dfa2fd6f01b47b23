import type { GuestMemory } from '../memory/guest-memory.ts';
import type { Chain } from './chain.ts';
import type { ChainsInFlight } from './chains-in-flight.ts';
import * as notLive from './not-live.ts';
import type { DeviceQueue, DeviceQueueState, SavedChain } from './queue.ts';

/** The position and what is in flight, for a snapshot. The queue goes on unchanged. */
export function saveQueue(queue: DeviceQueue): DeviceQueueState {
  return queue.save((chains, order) => (order?.list() ?? live(chains)).map(saveChain));
}

/** The chains that the device has, oldest first. */
function live({ byId }: ChainsInFlight): Chain[] {
  return byId
    .filter((chain) => chain !== undefined)
    .filter((chain) => chain.live)
    .sort((a, b) => a.turn - b.turn);
}

export function saveChain(chain: Chain): SavedChain {
  const numbers = [...chain.elements.subarray(0, 2 * chain.elementCount)];
  const readable = numbers.splice(0, 2 * chain.readableCount);
  const completed = chain.turn === notLive.COMPLETED ? { completed: chain.written } : {};
  return { id: chain.id, count: chain.entries, readable, writable: numbers, ...completed };
}

/** Fills a chain with what was saved; false when that is not in memory. */
export function restoreChain(chain: Chain, saved: SavedChain, memory: GuestMemory): boolean {
  const numbers = [...saved.readable, ...saved.writable];
  while (chain.elements.length < numbers.length) chain.grow();
  chain.elements.set(numbers);
  chain.entries = saved.count;
  const readable = bytesOf(saved.readable);
  const total = readable + bytesOf(saved.writable);
  const problem = chain.resolve(memory, numbers.length / 2, saved.readable.length / 2, readable, total);
  return problem === undefined;
}

/** The lengths of elements, given as address, length, address, length… */
function bytesOf(elements: readonly number[]): number {
  return elements.reduce((sum, number, i) => (i % 2 === 0 ? sum : sum + number), 0);
}
