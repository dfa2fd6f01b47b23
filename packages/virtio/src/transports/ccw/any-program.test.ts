import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VirtioError } from '../../errors.ts';
import { fine, Guest, place } from './ccw.fixture.ts';
import { orb } from './ccw.ts';
import { channelCommand } from './commands.ts';
import { legacyCcwDevice } from './legacy.ts';

const anyCode = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(...Object.values(channelCommand)) },
  fc.integer({ min: 0, max: 255 }),
);
const anyAddress = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 8 }).map((at) => place.program + 8 * at) },
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 64 }).map((at) => place.data + at) },
  fc.integer({ min: 2 ** 20 - 64, max: 2 ** 20 + 8 }),
  fc.integer({ min: 0, max: 0xffff_ffff }),
);
const anyCount = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 40 }) },
  fc.integer({ min: 0, max: 0xffff }),
);
const anyWord = fc.record({
  code: anyCode,
  count: anyCount,
  flags: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(0, 0x20, 0x40, 0x60, 0x80) },
    fc.integer({ min: 0, max: 255 }),
  ),
  cda: anyAddress,
});
const anyOrb = fc.record({
  ctrl0: fc.integer({ min: 0, max: 0xffff }),
  ctrl1: fc.constantFrom(0, 0x80, 0xff),
  lpm: fc.constantFrom(0x80, 0xff, 0),
  cpa: fc.oneof({ weight: 9, arbitrary: fc.constant(place.program) }, anyAddress),
});
const anyStep = fc.record({
  words: fc.array(anyWord, { minLength: 1, maxLength: 8 }),
  start: anyOrb,
  data: fc.uint8Array({ minLength: 64, maxLength: 64 }),
  next: fc.constantFrom('test', 'halt', 'clear', 'resume', 'cancel', 'notify', 'modify', 'none'),
  operand: anyAddress,
});

describe('any channel program at all', () => {
  it('ends, throws nothing, and leaves a device that a reset brings back', () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 12 }), fc.constantFrom(0, 1, 2), (steps, revision) => {
        const guest = new Guest({ legacy: legacyCcwDevice() }, { serve: { first: () => {} } });
        if (revision === 0) guest.enable().select(0);
        else guest.negotiate(revision === 1 ? 1 : 2).go();
        const { css, schid, memory } = guest;
        for (const { words, start, data, next, operand } of steps) {
          for (const [i, word] of words.entries()) guest.writeWord(place.program + 8 * i, word);
          memory.write(place.data, data);
          memory.write(place.orb, orb.encode(start));
          const ends = [css.startSubchannel(schid, place.orb)];
          if (next === 'test')
            ends.push(css.testSubchannel(schid, operand), css.testSubchannel(schid, place.irb));
          else if (next === 'modify') ends.push(css.modifySubchannel(schid, operand));
          else if (next === 'notify') css.notify(BigInt(schid), BigInt(operand), BigInt(operand));
          else if (next !== 'none') ends.push(css[`${next}Subchannel`](schid));
          for (const end of ends) expect([0, 1, 2, 3, 5, 6, 0x15]).toContain(end);
          css.testSubchannel(schid, place.irb);
        }
        expect(guest.errors.every((error) => error instanceof VirtioError)).toBe(true);
        expect(guest.errors.filter(({ name }) => name === 'HostError')).toEqual([]);
        css.reset();
        memory.write(0, new Uint8Array(2 ** 20));
        guest.negotiate(2).go();
        expect(guest.command('SENSE_ID', 7, { flags: 0x20 })).toMatchObject(fine);
      }),
      { numRuns: 300 },
    );
  });

  it('may lie in memory that holds anything', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 4096, maxLength: 4096 }),
        fc.integer({ min: 0, max: 0xffff }),
        (noise, ctrl0) => {
          const guest = new Guest({ legacy: legacyCcwDevice() }).enable();
          for (let at = 0; at < 2 ** 20; at += 4096) guest.memory.write(at, noise);
          for (let cpa = 0; cpa < 4096; cpa += 8) {
            guest.memory.write(place.orb, orb.encode({ lpm: 0x80, ctrl0: ctrl0 & ~4, cpa }));
            guest.css.startSubchannel(guest.schid, place.orb);
            guest.css.clearSubchannel(guest.schid);
            guest.css.testSubchannel(guest.schid, place.irb);
          }
          expect(guest.errors.every((error) => error instanceof VirtioError)).toBe(true);
        },
      ),
      { numRuns: 20 },
    );
  });
});
