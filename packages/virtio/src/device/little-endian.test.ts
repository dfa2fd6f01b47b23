import { expect, it } from 'vitest';
import { readLittle, writeLittle } from './little-endian.ts';

it('writes and reads the low bytes of a number, unsigned', () => {
  const bytes = new Uint8Array(6);
  writeLittle(bytes, 1, 4, 0xfedc_ba98);
  expect([...bytes]).toEqual([0, 0x98, 0xba, 0xdc, 0xfe, 0]);
  expect(readLittle(bytes, 1, 4)).toBe(0xfedc_ba98);
  writeLittle(bytes, 2, 1, 0x1234);
  expect(readLittle(bytes, 1, 2)).toBe(0x3498);
});

it('reads zeros behind the end, and drops what is written there', () => {
  const bytes = new Uint8Array(2);
  writeLittle(bytes, 1, 4, 0x0102_0304);
  expect([...bytes]).toEqual([0, 4]);
  expect(readLittle(bytes, 1, 4)).toBe(4);
});
