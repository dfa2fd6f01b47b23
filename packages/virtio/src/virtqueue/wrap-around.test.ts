import { describe, expect, it } from 'vitest';
import type { Chain } from './chain.ts';
import { makePair } from './ring.fixture.ts';
import { saveQueue } from './saved-chain.ts';

const element = { address: 0x3_0000, length: 4 };
const flags = [false, true];

const rings = flags.flatMap((packed) =>
  flags.flatMap((eventIdx) => flags.map((inOrder) => ({ packed, eventIdx, inOrder }))),
);

describe.each(rings)('packed $packed, event index $eventIdx, in order $inOrder', (options) => {
  // @holds 2.7.6.1 driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Available Ring
  it('runs past the end of every index with uneven batches that never fit the ring', () => {
    const { driver, device } = makePair(options.packed ? 7 : 8, options);
    // A packed ring wraps at its size, a split one at 65536 as well.
    const enough = options.packed ? 5000 : 0x1_0000 + 100;
    let submitted = 0;
    let polled = 0;
    const held: Chain[] = [];
    while (polled < enough) {
      const elements = submitted % 3 === 0 ? [element, element, element] : [element];
      while (driver.submit(elements, [], submitted)) submitted++;
      driver.publish();
      for (let chain = device.take(); chain !== undefined; chain = device.take()) held.push(chain);
      device.enableNotifications();
      const count = Math.max(1, held.length - 1);
      for (let i = 0; i < count; i++) {
        const chain = options.inOrder ? held.shift() : held.splice((i * 5) % held.length, 1)[0];
        device.complete(chain!);
      }
      device.flush();
      while (driver.poll() !== undefined) polled++;
      driver.enableNotifications();
      if (driver.error ?? device.error) throw driver.error ?? device.error;
    }
    expect(submitted - polled).toBe(driver.inFlight);
    expect(held.length).toBe(device.inFlight);
  });
});

describe('a packed ring at its very end', () => {
  // The wrap counter turns when the last descriptor is used exactly, also by a list that ends there.
  it.each([1, 2, 3, 4, 6, 12])('turns its counters when lists of %i end a ring of 12', (count) => {
    const { driver, device } = makePair(12, { packed: true });
    const elements = Array.from({ length: count }, () => element);
    for (let i = 0; i < 100; i++) {
      expect(driver.submit(elements, [], i)).toBe(true);
      driver.publish();
      const { nextAvailable, availableWrap } = saveQueue(device);
      expect(nextAvailable).toBe((i * count) % 12);
      expect(availableWrap).toBe(Math.floor((i * count) / 12) % 2 === 0 ? 1 : 0);
      device.complete(device.take()!);
      device.flush();
      expect(driver.poll()).toEqual({ token: i, written: 0 });
    }
  });

  it('carries lists over the end', () => {
    const { driver, device } = makePair(5, { packed: true });
    for (let i = 0; i < 100; i++) {
      expect(driver.submit([element, element], [element], i)).toBe(true);
      driver.publish();
      const chain = device.take()!;
      expect([chain.readable.length, chain.writable.length]).toEqual([8, 4]);
      device.complete(chain);
      device.flush();
      expect(driver.poll()).toEqual({ token: i, written: 0 });
    }
  });
});
