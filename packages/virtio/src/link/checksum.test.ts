import { describe, expect, it } from 'vitest';
import {
  foldSum,
  internetChecksum,
  internetSum,
  pseudoHeaderSum,
  transportChecksum,
  updatedChecksum,
} from './checksum.ts';
import { randomNumbers } from './random.fixture.ts';

/** As RFC 1071 defines it, word by word. */
function plainSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

describe('the internet checksum', () => {
  it('is that of the example in RFC 1071', () => {
    const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
    expect(internetSum(bytes, 0, 8)).toBe(0xddf2);
    expect(internetChecksum(bytes, 0, 8)).toBe(0x220d);
  });

  it('is the same by words of 32 bits, from any place and of any length', () => {
    const random = randomNumbers(1);
    const bytes = Uint8Array.from({ length: 70_000 }, () => random(256));
    const view = bytes.subarray(3);
    for (let length = 0; length < 300; length++) {
      const from = random(500);
      expect(internetSum(view, from, from + length)).toBe(plainSum(view.subarray(from, from + length)));
    }
    expect(internetSum(view, 1, 65_537)).toBe(plainSum(view.subarray(1, 65_537)));
  });

  it('loses no carry', () => {
    const ones = new Uint8Array(8 << 20).fill(0xff);
    expect(internetSum(ones, 0, ones.length)).toBe(0xffff);
    ones[ones.length - 1] = 0xfe;
    expect(internetSum(ones, 0, ones.length)).toBe(0xfffe);
    expect(foldSum(0xffff_ffff)).toBe(0xffff);
    expect(foldSum(0x1_0000_0000)).toBe(1);
    expect(foldSum(0x1f_ffff_ffff_ffff)).toBe(0x1f_ffff_ffff_ffff % 0xffff);
    expect(foldSum(0)).toBe(0);
  });

  it('goes on from a sum', () => {
    const random = randomNumbers(2);
    const bytes = Uint8Array.from({ length: 999 }, () => random(256));
    const first = internetSum(bytes, 0, 500);
    expect(internetSum(bytes, 500, 999, first)).toBe(plainSum(bytes));
  });

  it('covers the pseudo header, and is never the 0 that means none', () => {
    // From 10.0.0.1 to 10.0.0.2: a datagram of UDP from port 1 to 2 with two bytes, that make the sum 0xffff.
    const bytes = Uint8Array.of(10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2, 0, 10, 0, 0, 0, 0);
    const pseudo = pseudoHeaderSum(bytes, 0, 4, 17, 10);
    expect(pseudo).toBe(0x1400 + 3 + 17 + 10);
    const rest = 0xffff - internetSum(bytes, 8, 18, pseudo);
    bytes[16] = rest >>> 8;
    bytes[17] = rest & 0xff;
    expect(transportChecksum(bytes, 8, 18, pseudo)).toBe(0xffff);
    bytes[17]! ^= 1;
    const checksum = transportChecksum(bytes, 8, 18, pseudo);
    bytes.set([checksum >>> 8, checksum & 0xff], 14);
    expect(internetSum(bytes, 8, 18, pseudo)).toBe(0xffff);
  });

  it('follows a word that changed', () => {
    const random = randomNumbers(3);
    for (let round = 0; round < 200; round++) {
      const bytes = Uint8Array.from({ length: 20 }, () => random(256));
      const before = internetChecksum(bytes, 0, 20);
      const old = (bytes[4]! << 8) | bytes[5]!;
      const now = random(0x10000);
      bytes.set([now >>> 8, now & 0xff], 4);
      const sum = internetSum(bytes, 0, 20);
      expect(foldSum((~updatedChecksum(before, old, now) & 0xffff) + 0)).toBe(sum);
    }
  });
});
