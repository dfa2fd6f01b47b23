import type { GuestMemory } from '../memory/guest-memory.ts';
import type { Chain } from './chain.ts';
import { notLive } from './chain-state.ts';
import type { SavedChain } from './queue.ts';

export function saveChain(chain: Chain): SavedChain {
  const { state } = chain;
  const readable: number[] = [];
  const writable: number[] = [];
  for (let i = 0; i < state.elementCount; i++) {
    const [address, length, isWritable] = state.elements.subarray(3 * i, 3 * i + 3);
    (isWritable === 0 ? readable : writable).push(address!, length!);
  }
  const completed = state.turn === notLive.COMPLETED ? { completed: state.usedLength } : {};
  return { id: chain.id, count: state.entries, readable, writable, ...completed };
}

/** Fills a chain with what was saved; false when that is not in memory. */
export function restoreChain(chain: Chain, saved: SavedChain, memory: GuestMemory): boolean {
  const { state } = chain;
  const both = [
    { elements: saved.readable, flag: 0 },
    { elements: saved.writable, flag: 1 },
  ];
  let count = 0;
  for (const { elements, flag } of both) {
    for (let i = 0; i + 1 < elements.length; i += 2) {
      if (3 * count === state.elements.length) state.grow();
      state.elements.set([elements[i]!, elements[i + 1]!, flag], 3 * count);
      count++;
    }
  }
  state.entries = saved.count;
  state.usedLength = saved.completed ?? 0;
  return state.resolve(memory, count) === undefined;
}
