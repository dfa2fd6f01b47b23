import { describe, expect, it } from 'vitest';
import { makePair, type Pair } from './ring.fixture.ts';

const rings = [
  { packed: false, ring: 'split' },
  { packed: true, ring: 'packed' },
];

/** Submits buffers of one readable and one writable element of 8 bytes. */
function offer(pair: Pair, count: number): void {
  for (let i = 0; i < count; i++) {
    pair.driver.submit([{ address: 0x3_0000, length: 8 }], [{ address: 0x3_1000 + 8 * i, length: 8 }], i);
  }
  pair.driver.publish();
}

function poll(pair: Pair): [token: number, written: number][] {
  const used: [number, number][] = [];
  for (let next = pair.driver.poll(); next !== undefined; next = pair.driver.poll()) {
    used.push([next.token, next.written]);
  }
  expect(pair.driver.error).toBeUndefined();
  return used;
}

/** How many used entries the device has written since the ring was clear. */
function usedEntries({ memory, areas, options }: Pair): number {
  const view = memory.regions[0]!.view;
  const at = (address: number) => address - memory.regions[0]!.start;
  let count = 0;
  for (let i = 0; i < areas.size; i++) {
    if (options.packed) {
      if ((view.getUint16(at(areas.descriptor) + 16 * i + 14, true) & 0x8080) === 0x8080) count++;
    } else if (view.getUint32(at(areas.device) + 4 + 8 * i + 4, true) !== 0) {
      count++;
    }
  }
  return count;
}

describe.each(rings)('$ring ring in order', ({ packed }) => {
  // @holds 6.2 device: Reserved Feature Bits
  it('uses buffers in the order in which they were available, whatever order they complete in', () => {
    const pair = makePair(16, { packed, inOrder: true });
    offer(pair, 5);
    const chains = Array.from({ length: 5 }, () => pair.device.take()!);
    for (const chain of chains) chain.writable.fill(1, 8);
    for (const i of [2, 4, 1]) pair.device.complete(chains[i]!);
    expect(pair.device.flush()).toBe(false);
    expect(poll(pair)).toEqual([]);
    expect(pair.device.inFlight).toBe(2);
    pair.device.complete(chains[0]!);
    expect(pair.device.flush()).toBe(true);
    expect(poll(pair)).toEqual([
      [0, 8],
      [1, 8],
      [2, 8],
    ]);
    pair.device.complete(chains[3]!);
    pair.device.flush();
    expect(poll(pair)).toEqual([
      [3, 8],
      [4, 8],
    ]);
    expect(() => pair.device.complete(chains[3]!)).toThrow(
      expect.objectContaining({ code: 'CHAIN_COMPLETED' }),
    );
  });

  it('writes one entry for a batch of buffers that are completely written', () => {
    const pair = makePair(16, { packed, inOrder: true });
    offer(pair, 6);
    for (let i = 0; i < 6; i++) {
      const chain = pair.device.take()!;
      chain.writable.fill(1, i === 5 ? 3 : 8);
      pair.device.complete(chain);
    }
    pair.device.flush();
    expect(usedEntries(pair)).toBe(1);
    expect(poll(pair)).toEqual([0, 1, 2, 3, 4, 5].map((token) => [token, token === 5 ? 3 : 8]));
  });

  it('ends a batch at a buffer that is not', () => {
    const pair = makePair(16, { packed, inOrder: true });
    offer(pair, 6);
    const written = [8, 2, 8, 8, 5, 8];
    for (const count of written) {
      const chain = pair.device.take()!;
      chain.writable.fill(1, count);
      pair.device.complete(chain);
    }
    pair.device.flush();
    expect(usedEntries(pair)).toBe(3);
    expect(poll(pair)).toEqual(written.map((count, token) => [token, count]));
  });

  it('refuses a new taking of what waits for its turn', () => {
    const pair = makePair(4, { packed, inOrder: true });
    offer(pair, 2);
    const [, second] = [pair.device.take()!, pair.device.take()!];
    pair.device.complete(second);
    expect(second.live).toBe(false);
    expect(pair.device.take()).toBeUndefined();
    expect(pair.device.error).toBeUndefined();
  });
});

// @holds 2.7.5.2 driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table
it('uses the descriptors of a split ring in ring order', () => {
  const pair = makePair(8, { inOrder: true });
  const { view, start } = pair.memory.regions[0]!;
  let expected = 0;
  for (let lap = 0; lap < 20; lap++) {
    const count = 1 + (lap % 3);
    const readable = Array.from({ length: count }, () => ({ address: 0x3_0000, length: 1 }));
    pair.driver.submit(readable, [], lap);
    pair.driver.publish();
    for (let i = 0; i < count; i++) {
      const index = (expected + i) % 8;
      const next = view.getUint16(pair.areas.descriptor - start + 16 * index + 14, true);
      if (i + 1 < count) expect(next).toBe((index + 1) % 8);
    }
    const chain = pair.device.take()!;
    expect(chain.id).toBe(expected);
    expected = (expected + count) % 8;
    pair.device.complete(chain);
    pair.device.flush();
    expect(poll(pair)).toEqual([[lap, 0]]);
  }
});
