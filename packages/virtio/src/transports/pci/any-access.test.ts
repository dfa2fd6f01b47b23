import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VirtioError } from '../../errors.ts';
import { Guest } from './pci.fixture.ts';
import { restorePciFunction, savePciFunction } from './saving.ts';

const anyOffset = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 0x40 }) },
  {
    weight: 4,
    arbitrary: fc
      .integer({ min: 0, max: 4 })
      .chain((page) => fc.integer({ min: 0, max: 80 }).map((at) => page * 4096 + at)),
  },
  fc.integer({ min: 0, max: 0xffff_ffff }),
  fc.constantFrom(-1, 0.5, 2 ** 53, Number.NaN),
);
const anyWidth = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(1, 2, 4) },
  fc.constantFrom(0, 3, 8, 16, -1),
);
const anyValue = fc.oneof(
  fc.integer({ min: 0, max: 16 }),
  fc.integer({ min: 0, max: 0xffff_ffff }),
  fc.constantFrom(-1, 2 ** 40, 0xffff, 0xffff_ffff),
);
const anyAccess = fc.record({
  space: fc.constantFrom('config', 'bar'),
  write: fc.boolean(),
  bar: fc.oneof({ weight: 8, arbitrary: fc.constantFrom(0, 2) }, fc.integer({ min: -1, max: 7 })),
  offset: anyOffset,
  width: anyWidth,
  value: anyValue,
});

describe('any access at all', () => {
  it('is answered with a number of its width, and throws nothing', () => {
    fc.assert(
      fc.property(fc.array(anyAccess, { maxLength: 50 }), fc.boolean(), (accesses, live) => {
        const guest = new Guest(
          { notifConfigData: (queue) => queue + 5 },
          { serve: { first: () => {} } },
        ).enable();
        if (live) guest.negotiate(40).enableQueue(0).enableQueue(1).go();
        const { pciFunction } = guest;
        for (const { space, write, bar, offset, width, value } of accesses) {
          if (space === 'config' && write) pciFunction.configWrite(offset, width, value);
          else if (write) pciFunction.barWrite(bar, offset, width, value);
          else {
            const read =
              space === 'config'
                ? pciFunction.configRead(offset, width)
                : pciFunction.barRead(bar, offset, width);
            expect(Number.isInteger(read) && read >= 0 && read <= 0xffff_ffff).toBe(true);
            if (width === 1) expect(read).toBeLessThanOrEqual(0xff);
            if (width === 2) expect(read).toBeLessThanOrEqual(0xffff);
          }
        }
        expect(guest.errors.every((error) => error instanceof VirtioError)).toBe(true);
        // Whatever it was, a reset brings the function back.
        pciFunction.reset();
        guest.enable().negotiate().enableQueue(0).go();
        guest.memory.write(0x10000, new Uint8Array(0x3000));
        guest.offer(0);
        guest.kick(0);
        expect(guest.used(0)).toBe(1);
      }),
      { numRuns: 100 },
    );
  }, 20_000);

  it('leaves a state that can be saved and restored', () => {
    fc.assert(
      fc.property(fc.array(anyAccess, { maxLength: 40 }), (accesses) => {
        const guest = new Guest().enable();
        for (const { space, bar, offset, width, value } of accesses) {
          if (space === 'config') guest.pciFunction.configWrite(offset, width, value);
          else guest.pciFunction.barWrite(bar, offset, width, value);
        }
        const saved = savePciFunction(guest.pciFunction);
        const other = new Guest();
        restorePciFunction(other.pciFunction, JSON.parse(JSON.stringify(saved)));
        other.pciFunction.resume();
        const { generation, core, ...state } = savePciFunction(other.pciFunction);
        const { generation: savedGeneration, core: savedCore, ...savedState } = saved;
        expect(state).toEqual(savedState);
        expect(core.status & 0xbf).toBe(savedCore.status & 0xbf);
        expect(generation).toBe((savedGeneration + 1) & 0xff);
      }),
      { numRuns: 60 },
    );
  }, 20_000);
});
