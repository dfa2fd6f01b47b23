import { describe, expect, it } from 'vitest';
import type { Chain } from './chain.ts';
import type { BufferElement } from './queue.ts';
import { everyRing, makePair, type Pair } from './ring.fixture.ts';

/** Elements of the given lengths, somewhere in memory. */
function elements(pair: Pair, lengths: readonly number[]): BufferElement[] {
  return lengths.map((length) => ({ address: pair.allocator.allocate(Math.max(length, 1)), length }));
}

function takeAll(pair: Pair): Chain[] {
  const chains: Chain[] = [];
  for (let chain = pair.device.take(); chain !== undefined; chain = pair.device.take()) chains.push(chain);
  return chains;
}

function pollAll(pair: Pair): { token: number; written: number }[] {
  const used: { token: number; written: number }[] = [];
  for (let next = pair.driver.poll(); next !== undefined; next = pair.driver.poll()) used.push({ ...next });
  return used;
}

describe.each(everyRing)('$name', ({ options }) => {
  const small = options.packed ? [1, 2, 3, 5, 256] : [1, 2, 4, 256];
  const sizes = options.indirect || options.inOrder ? small : [...small, 32768];

  it.each(sizes)('carries buffers both ways in a queue of %i', (size) => {
    const pair = makePair(size, options);
    const count = Math.min(size, 3);
    const readable = elements(pair, count > 1 ? [5] : []);
    const writable = elements(pair, count > 2 ? [3, 7] : [10]);
    pair.memory.write(readable[0]?.address ?? writable[0]!.address, new Uint8Array([1, 2, 3, 4, 5]));

    const laps = size > 256 ? 2 : 7 + Math.ceil(40 / size);
    for (let lap = 0; lap < laps; lap++) {
      let submitted = 0;
      while (pair.driver.submit(readable, writable, submitted)) submitted++;
      expect(submitted).toBe(Math.floor(size / (options.indirect && count > 1 ? 1 : count)));
      expect(pair.device.take()).toBeUndefined();
      expect(pair.driver.publish()).toBe(true);

      const chains = takeAll(pair);
      expect(chains).toHaveLength(submitted);
      expect(pair.device.inFlight).toBe(submitted);
      const lengths = chains.map(({ readable, writable }) => [readable.length, writable.length].join());
      expect([...new Set(lengths)]).toEqual([count > 1 ? '5,10' : '0,10']);
      for (const chain of chains) {
        chain.writable.fill(lap, 10);
        pair.device.complete(chain);
      }
      expect(pair.driver.poll()).toBeUndefined();
      expect(pair.device.flush()).toBe(true);

      const used = pollAll(pair);
      expect(used).toEqual(Array.from({ length: submitted }, (_, token) => ({ token, written: 10 })));
      expect(pair.driver.free).toBe(size);
      expect(pair.driver.inFlight).toBe(0);
      expect(pair.device.inFlight).toBe(0);
      pair.driver.enableNotifications();
      pair.device.enableNotifications();
    }
    expect(pair.device.error).toBeUndefined();
    expect(pair.driver.error).toBeUndefined();
  });
});
