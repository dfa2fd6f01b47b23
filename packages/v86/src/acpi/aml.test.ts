import { expect, it } from 'vitest';
import { acpiDevice, integer, named, scope, string } from './aml.ts';
import { mmioTable } from './mmio-table.ts';

it('writes integers in their shortest form', () => {
  expect([0, 1, 2, 0xff, 0x100, 0xffff, 0x1_0000, 0xd000_0000].map(integer)).toEqual([
    [0],
    [1],
    [0x0a, 2],
    [0x0a, 0xff],
    [0x0b, 0, 1],
    [0x0b, 0xff, 0xff],
    [0x0c, 0, 0, 1, 0],
    [0x0c, 0, 0, 0, 0xd0],
  ]);
});

it.each([
  // Bytes of content, and those that say how long the package is: they count themselves.
  [62, [0x3f]],
  [63, [0x41, 0x04]],
  [4093, [0x4f, 0xff]],
  [4094, [0x81, 0x00, 0x01]],
])('says the length of %d bytes of terms in as few bytes as it takes', (length, expected) => {
  const name = acpiDevice('A', named('B', string('x'.repeat(length - 11))));
  expect(name.slice(2, 2 + expected.length)).toEqual(expected);
  expect(name).toHaveLength(2 + expected.length + length);
});

it('names what is below the root', () => {
  expect(scope('_SB')).toEqual([0x10, 0x06, 0x5c, ...Buffer.from('_SB_')]);
});

it.each([1, 2, 32])('makes a table for %d windows that adds up to 0', (count) => {
  const table = mmioTable(count);
  expect(new DataView(table.buffer).getUint32(4, true)).toBe(table.length);
  expect(table.reduce((sum, byte) => sum + byte, 0) & 0xff).toBe(0);
});

it.each([0, 33, 1.5])('refuses a table for %d windows', (count) => {
  expect(() => mmioTable(count)).toThrow(/from 1 to 32/);
});
