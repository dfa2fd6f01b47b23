import { expect, test } from 'vitest';
import { interruptionCode, PendingInterruptions } from './pending.ts';

const all = 0xff;

test('the first of an allowed subclass is taken, once', () => {
  const pending = new PendingInterruptions(() => true);
  pending.subchannel({ schid: 0x1_0001, parameter: 7, isc: 3 });
  pending.adapter(6);
  expect(pending.take(0)).toBeUndefined();
  expect(pending.take(0x80 >>> 6)).toEqual({ schid: 0, parameter: 0, isc: 6 });
  expect(pending.take(all)).toEqual({ schid: 0x1_0001, parameter: 7, isc: 3 });
  expect(pending.any).toBe(false);
});

test('one of an adapter is enough for each subclass', () => {
  const pending = new PendingInterruptions(() => true);
  for (const isc of [6, 6, 5, 6]) pending.adapter(isc);
  expect([pending.take(all)?.isc, pending.take(all)?.isc, pending.take(all)]).toEqual([6, 5, undefined]);
});

test('status that the program has taken by itself interrupts no more', () => {
  const pending = new PendingInterruptions((schid) => schid !== 0x1_0001);
  pending.subchannel({ schid: 0x1_0001, parameter: 1, isc: 3 });
  pending.subchannel({ schid: 0x1_0002, parameter: 2, isc: 3 });
  expect(pending.take(all)?.schid).toBe(0x1_0002);
  expect(pending.any).toBe(false);
});

test('the code says whose it is', () => {
  const hex = (...one: Parameters<typeof interruptionCode>): string =>
    Buffer.from(interruptionCode(...one)).toString('hex');
  expect(hex({ schid: 0x1_0005, parameter: 0x1234_5678, isc: 3 })).toBe('000100051234567818000000');
  expect(hex({ schid: 0, parameter: 0, isc: 6 })).toBe('0000000000000000b0000000');
});
