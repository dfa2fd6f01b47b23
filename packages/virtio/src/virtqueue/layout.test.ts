import { expect, it } from 'vitest';
import { PvirtqDesc, PvirtqEventSuppress, packedRingAreas } from './packed/layout.ts';
import { splitRingAreas, VirtqAvail, VirtqDesc, VirtqUsed, VirtqUsedElem } from './split/layout.ts';

const offsets = (layout: { field: Record<string, { offset: number }> }) =>
  Object.fromEntries(Object.entries(layout.field).map(([name, { offset }]) => [name, offset]));

it('declares the structures that the hot code reads by number', () => {
  expect(offsets(VirtqDesc)).toEqual({ addr: 0, len: 8, flags: 12, next: 14 });
  expect(VirtqDesc.size).toBe(16);
  expect(offsets(VirtqAvail)).toEqual({ flags: 0, idx: 2, ring: 4 });
  expect(offsets(VirtqUsed)).toEqual({ flags: 0, idx: 2, ring: 4 });
  expect(offsets(VirtqUsedElem)).toEqual({ id: 0, len: 4 });
  expect(VirtqUsedElem.size).toBe(8);
  expect(offsets(PvirtqDesc)).toEqual({ addr: 0, len: 8, id: 12, flags: 14 });
  expect(PvirtqDesc.size).toBe(16);
  expect(offsets(PvirtqEventSuppress)).toEqual({ desc: 0, flags: 2 });
  expect(PvirtqEventSuppress.size).toBe(4);
});

it('gives the areas the sizes and alignments of the tables in 2.7 and 2.8.10.1', () => {
  expect(splitRingAreas(256)).toEqual({
    descriptor: { length: 4096, alignment: 16 },
    driver: { length: 518, alignment: 2 },
    device: { length: 2054, alignment: 4 },
  });
  expect(packedRingAreas(3)).toEqual({
    descriptor: { length: 48, alignment: 16 },
    driver: { length: 4, alignment: 4 },
    device: { length: 4, alignment: 4 },
  });
});
