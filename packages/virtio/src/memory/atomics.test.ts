import { describe, expect, it } from 'vitest';
import { loadAcquire32, OrderedView, storeRelease32 } from './atomics.ts';
import { GuestMemory } from './guest-memory.ts';

describe.each([
  { kind: 'private', shared: false },
  { kind: 'shared', shared: true },
])('$kind memory', ({ shared }) => {
  it.each(['little', 'big'] as const)(
    'reads and writes %s-endian fields where plain access does',
    (endian) => {
      const memory = new GuestMemory();
      const region = memory.addRegion(0x100, { buffer: new ArrayBuffer(64), byteOffset: 8 }, { shared });
      const area = new OrderedView(region, 4, 14, endian);
      const little = endian === 'little';
      area.storeRelease16(2, 0x1234);
      storeRelease32(area, 8, 0x89abcdef);
      expect(region.view.getUint16(6, little)).toBe(0x1234);
      expect(region.view.getUint32(12, little)).toBe(0x89abcdef);
      expect([area.loadAcquire16(2), loadAcquire32(area, 8)]).toEqual([0x1234, 0x89abcdef]);
      expect([area.view.byteLength, area.little]).toEqual([14, little]);
      area.storeRelease16(12, 0xfffe);
      expect(area.loadAcquire16(12)).toBe(0xfffe);
    },
  );

  it('reaches 16-bit fields of an area that is aligned to 2 alone', () => {
    const memory = new GuestMemory();
    const region = memory.addRegion(0, { buffer: new ArrayBuffer(16) }, { shared });
    const area = new OrderedView(region, 2, 6);
    area.storeRelease16(4, 7);
    expect(region.bytes[6]).toBe(7);
  });
});
