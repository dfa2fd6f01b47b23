import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../errors.ts';
import { GuestMemory } from './guest-memory.ts';

function memoryOf(...regions: [start: number, length: number][]): GuestMemory {
  const memory = new GuestMemory();
  for (const [start, length] of regions) memory.addRegion(start, { buffer: new ArrayBuffer(length) });
  return memory;
}

describe('regions', () => {
  it('lie by rising address, and never over one another', () => {
    const memory = memoryOf([0x3000, 0x1000], [0x1000, 0x1000]);
    expect(memory.regions.map(({ start, end }) => [start, end])).toEqual([
      [0x1000, 0x2000],
      [0x3000, 0x4000],
    ]);
    for (const [start, length] of [
      [0x1fff, 1],
      [0x0fff, 2],
      [0x3800, 1],
      [0, 0x8000],
    ] as const) {
      expect(() => memory.addRegion(start, { buffer: new ArrayBuffer(length) })).toThrow(UsageError);
    }
    memory.addRegion(0x2000, { buffer: new ArrayBuffer(0x1000) });
    for (const start of [-1, 0.5, 2 ** 53]) {
      expect(() => memory.addRegion(start, { buffer: new ArrayBuffer(1) })).toThrow(UsageError);
    }
  });

  it('count their changes, also behind a translation', () => {
    const memory = memoryOf([0, 16]);
    const behind = memory.translated((address, length) => ({ address, length }));
    const versions = [memory.version];
    const region = memory.addRegion(16, { buffer: new ArrayBuffer(16) });
    versions.push(memory.version);
    memory.remap(region, { buffer: new Uint8Array(16).fill(7).buffer });
    versions.push(memory.version);
    expect([...behind.read(15, 2)]).toEqual([0, 7]);
    memory.removeRegion(region);
    versions.push(memory.version);
    expect(new Set(versions).size).toBe(4);
    expect(behind.version).toBe(memory.version);
    expect([region.removed, region.bytes.length]).toEqual([true, 0]);
    expect(memory.find(16, 1)).toBeUndefined();
    expect(() => memory.removeRegion(region)).toThrow(UsageError);
    expect(() => memory.remap(region, { buffer: new ArrayBuffer(16) })).toThrow(UsageError);
  });

  it('keep their length over a remap', () => {
    const memory = memoryOf([0, 16]);
    expect(() => memory.remap(memory.regions[0]!, { buffer: new ArrayBuffer(17) })).toThrow(UsageError);
    memory.remap(memory.regions[0]!, { buffer: new ArrayBuffer(64), byteOffset: 8, byteLength: 16 });
    expect(memory.regions[0]!.bytes.byteOffset).toBe(8);
  });

  it('are aligned where another thread shares them', () => {
    const memory = new GuestMemory();
    const buffer = new SharedArrayBuffer(64);
    expect(memory.addRegion(0, { buffer, byteLength: 16 }).shared).toBe(true);
    expect(() => memory.addRegion(18, { buffer, byteLength: 16 })).toThrow(UsageError);
    expect(() => memory.addRegion(32, { buffer, byteOffset: 2, byteLength: 16 })).toThrow(UsageError);
    expect(memory.addRegion(33, { buffer, byteLength: 16 }, { shared: false }).shared).toBe(false);
    expect(memory.addRegion(64, { buffer: new ArrayBuffer(4) }, { shared: true }).shared).toBe(true);
  });
});

describe('ranges', () => {
  const memory = memoryOf([0x1000, 0x100], [0x1100, 0x100], [0x2000, 0x100]);

  it('are memory when every byte is', () => {
    const cases: [number, number, boolean][] = [
      [0x1000, 0x200, true],
      [0x1000, 0x201, false],
      [0x0fff, 2, false],
      [0x10ff, 2, true],
      [0x11ff, 1, true],
      [0x1200, 0, true],
      [0x2000, 0x100, true],
      [0x2000, 2 ** 32, false],
      [2 ** 53, 1, false],
      [-1, 2, false],
      [Number.NaN, 1, false],
      [Number.POSITIVE_INFINITY, 1, false],
    ];
    for (const [address, length, isMemory] of cases) {
      expect([address, length, memory.contains(address, length)]).toEqual([address, length, isMemory]);
    }
  });

  it('are found in one region, or not at all', () => {
    expect(memory.find(0x1000, 0x100)?.start).toBe(0x1000);
    expect(memory.find(0x1080, 0x100)).toBeUndefined();
    expect(memory.find(0x2000, 1)?.start).toBe(0x2000);
    expect(memory.find(0x1100, 1)?.start).toBe(0x1100);
  });

  it('are read and written over regions, all or nothing', () => {
    memory.write(0x10fe, new Uint8Array([1, 2, 3, 4]));
    expect([...memory.read(0x10fd, 6)]).toEqual([0, 1, 2, 3, 4, 0]);
    expect(() => memory.write(0x11fe, new Uint8Array([9, 9, 9]))).toThrow(UsageError);
    expect([...memory.read(0x11fe, 2)]).toEqual([0, 0]);
    expect(() => memory.read(0x11ff, 2)).toThrow(expect.objectContaining({ code: 'OUT_OF_BOUNDS' }));
  });

  it('come in pieces that are the whole range, whatever the regions and the pages', () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 });
    void fc.assert(
      fc.property(
        lengths,
        fc.integer({ min: 1, max: 9 }),
        fc.nat(100),
        fc.nat(100),
        (sizes, page, from, length) => {
          const pieces = new GuestMemory();
          let end = 0;
          for (const size of sizes) {
            pieces.addRegion(end, { buffer: Uint8Array.from({ length: size }, (_, i) => end + i).buffer });
            end += size;
          }
          const paged = pieces.translated((address) => ({ address, length: page - (address % page) }));
          for (const one of [pieces, paged]) {
            const bytes: number[] = [];
            const whole = one.pieces(from, length, 'read', (region, offset, count) => {
              bytes.push(...region.bytes.subarray(offset, offset + count));
            });
            expect(whole).toBe(length === 0 || from + length <= end);
            if (whole) expect(bytes).toEqual(Array.from({ length }, (_, i) => from + i));
          }
        },
      ),
    );
  });

  it('never loop on a translation that gives nothing', () => {
    for (const length of [0, -1, Number.NaN]) {
      const behind = memory.translated((address) => ({ address, length }));
      expect(behind.contains(0x1000, 4)).toBe(false);
    }
    expect(memory.translated(() => undefined).contains(0x1000, 4)).toBe(false);
  });
});
