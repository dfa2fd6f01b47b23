import type { GuestMemory } from '../memory/guest-memory.ts';
import type { Chain } from './chain.ts';
import { notLive } from './chain-state.ts';
import type { SavedChain } from './queue.ts';

export function saveChain(chain: Chain): SavedChain {
  const readable: number[] = [];
  const writable: number[] = [];
  for (let i = 0; i < chain.elementCount; i++) {
    const [address, length, isWritable] = chain.elements.subarray(3 * i, 3 * i + 3);
    (isWritable === 0 ? readable : writable).push(address!, length!);
  }
  const completed = chain.turn === notLive.COMPLETED ? { completed: chain.written } : {};
  return { id: chain.id, count: chain.entries, readable, writable, ...completed };
}

/** Fills a chain with what was saved; false when that is not in memory. */
export function restoreChain(chain: Chain, saved: SavedChain, memory: GuestMemory): boolean {
  const both = [
    { elements: saved.readable, flag: 0 },
    { elements: saved.writable, flag: 1 },
  ];
  let count = 0;
  for (const { elements, flag } of both) {
    for (let i = 0; i + 1 < elements.length; i += 2) {
      if (3 * count === chain.elements.length) chain.grow();
      chain.elements.set([elements[i]!, elements[i + 1]!, flag], 3 * count);
      count++;
    }
  }
  chain.entries = saved.count;
  return chain.resolve(memory, count) === undefined;
}
