import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VirtioError } from '../../errors.ts';
import { Guest } from './mmio.fixture.ts';

const anyOffset = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 0x4f }).map((register) => register * 4) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 0x210 }) },
  fc.integer({ min: 0, max: 0xffff_ffff }),
  fc.constantFrom(-1, -4, 0.5, 2 ** 53, Number.NaN),
);
const anyWidth = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(4, 4, 4, 1, 2) },
  fc.constantFrom(0, 3, 8, 16, -1),
);
const anyValue = fc.oneof(
  fc.integer({ min: 0, max: 16 }),
  fc.integer({ min: 0, max: 0xffff_ffff }),
  fc.constantFrom(-1, 2 ** 40, 0xffff, 4096, 0xffff_ffff),
);
const anyAccess = fc.record({ write: fc.boolean(), offset: anyOffset, width: anyWidth, value: anyValue });

describe('any access at all', () => {
  it('is answered with a number of its width, and throws nothing', () => {
    fc.assert(
      fc.property(fc.array(anyAccess, { maxLength: 60 }), fc.boolean(), (accesses, live) => {
        const guest = new Guest({}, { serve: { first: () => {} } });
        if (live) guest.negotiate(38, 40).enableQueue(0).enableQueue(1).go();
        const { window } = guest;
        for (const { write, offset, width, value } of accesses) {
          if (write) window.write(offset, width, value);
          else {
            const read = window.read(offset, width);
            expect(Number.isInteger(read) && read >= 0 && read <= 0xffff_ffff).toBe(true);
            if (width === 1) expect(read).toBeLessThanOrEqual(0xff);
            if (width === 2) expect(read).toBeLessThanOrEqual(0xffff);
          }
        }
        expect(guest.errors.every((error) => error instanceof VirtioError)).toBe(true);
        // Whatever it was, a reset brings the device back.
        guest.negotiate().enableQueue(0).go();
        guest.memory.write(0x10000, new Uint8Array(0x3000));
        guest.offer(0);
        guest.kick(0);
        expect(guest.used(0)).toBe(1);
      }),
      { numRuns: 200 },
    );
  }, 20_000);

  it('leaves a state that can be saved and restored', () => {
    fc.assert(
      fc.property(fc.array(anyAccess, { maxLength: 40 }), (accesses) => {
        const guest = new Guest();
        for (const { offset, width, value } of accesses) guest.window.write(offset, width, value);
        const saved = guest.window.save();
        const other = new Guest();
        other.window.restore(JSON.parse(JSON.stringify(saved)));
        other.window.resume();
        const { core, interruptStatus, ...state } = other.window.save();
        const { core: savedCore, interruptStatus: savedStatus, ...savedState } = saved;
        expect(state).toEqual(savedState);
        // A resumed device looks at its queues, which may break them now as they would have been then.
        expect(core.status & 0xbf).toBe(savedCore.status & 0xbf);
        expect(interruptStatus & savedStatus).toBe(savedStatus);
      }),
      { numRuns: 100 },
    );
  }, 20_000);
});
