import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../memory/guest-memory.ts';
import { createDriverQueue } from './create.ts';
import { legacyLayout } from './legacy.ts';
import { openDevice, plain } from './ring.fixture.ts';

/** Private memory, and memory as another thread would share it: the fields go different ways. */
const backings = [
  { kind: 'private', make: (length: number): ArrayBufferLike => new ArrayBuffer(length) },
  { kind: 'shared', make: (length: number): ArrayBufferLike => new SharedArrayBuffer(length) },
];

describe.each(backings)('$kind memory', ({ make }) => {
  it.each(['little', 'big'] as const)('carries a legacy ring of a %s-endian guest', (endian) => {
    const memory = new GuestMemory();
    memory.addRegion(0, { buffer: make(0x8000) });
    const { areas } = legacyLayout(0x1000, 8);
    for (const eventIdx of [false, true]) {
      const options = { ...plain, endian, eventIdx };
      const driver = createDriverQueue<string>(memory, areas, options);
      const device = openDevice(memory, areas, options);
      // Three chains at once, so that no index happens to look like a flag.
      for (const token of ['x', 'y']) driver.submit([{ address: 0x4000, length: 1 }], [], token);
      expect(driver.submit([{ address: 0x4000, length: 3 }], [{ address: 0x5000, length: 5 }], 'a')).toBe(
        true,
      );
      expect(driver.publish()).toBe(true);
      const little = endian === 'little';
      const { view } = memory.regions[0]!;
      expect(view.getBigUint64(areas.descriptor, little)).toBe(0x4000n);
      expect(view.getUint32(areas.descriptor + 8, little)).toBe(1);
      expect(view.getUint16(areas.driver + 2, little)).toBe(3);
      for (let i = 0; i < 2; i++) device.complete(device.take()!);
      const chain = device.take()!;
      expect([chain.id, chain.readable.length, chain.writable.length]).toEqual([2, 3, 5]);
      chain.writable.u16(little ? 0x0201 : 0x0102);
      device.complete(chain);
      expect(device.flush()).toBe(true);
      expect(view.getUint16(areas.device + 2, little)).toBe(3);
      expect([...memory.read(0x5000, 2)]).toEqual([1, 2]);
      expect([driver.poll()?.token, driver.poll()?.token]).toEqual(['x', 'y']);
      expect(driver.poll()).toEqual({ token: 'a', written: 2 });
    }
  });

  it('carries a packed ring', () => {
    const memory = new GuestMemory();
    memory.addRegion(0, { buffer: make(0x8000) });
    const areas = { size: 3, descriptor: 0x1000, driver: 0x2000, device: 0x3000 };
    const options = { ...plain, packed: true, eventIdx: true };
    const driver = createDriverQueue<number>(memory, areas, options);
    const device = openDevice(memory, areas, options);
    for (let i = 0; i < 20; i++) {
      driver.submit([{ address: 0x4000, length: 3 }], [{ address: 0x5000, length: 5 }], i);
      expect(driver.publish()).toBe(true);
      device.complete(device.take()!);
      expect(device.flush()).toBe(true);
      expect(driver.poll()).toEqual({ token: i, written: 0 });
      expect([driver.enableNotifications(), device.enableNotifications()]).toEqual([false, false]);
    }
  });
});
