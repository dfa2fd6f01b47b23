import { describe, expect, it } from 'vitest';
import { decodeName, encodeName } from './spec-names.ts';

describe('names of files', () => {
  it.each([
    ['plain.txt', 'plain.txt'],
    ['grüße', 'gr\u00c3\u00bc\u00c3\u009fe'],
    ['日本', '\u00e6\u0097\u00a5\u00e6\u009c\u00ac'],
    ['\u{1f600}', '\u00f0\u009f\u0098\u0080'],
    ['\u{10080}', '\u00f0\u0090\u0082\u0080'],
    ['\udcff', '\u00ff'],
    ['a\udcc3', 'a\u00c3'],
  ])('has %j in bytes, and back', (name, latin1) => {
    const bytes = Uint8Array.from(latin1, (unit) => unit.charCodeAt(0));
    expect(encodeName(name)).toEqual(bytes);
    expect(decodeName(bytes)).toBe(name);
  });

  it('keeps every sequence of bytes, whatever it is', () => {
    let seed = 1;
    for (let round = 0; round < 3000; round++) {
      const bytes = Uint8Array.from({ length: round % 9 }, () => {
        seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
        // Mostly bytes that mean something to UTF-8.
        return (seed >>> 16) % 3 === 0 ? (seed >>> 8) & 0xff : 0x80 | ((seed >>> 8) & 0x7f);
      });
      expect(encodeName(decodeName(bytes))).toEqual(bytes);
    }
  });

  it('reads part of what it is given', () => {
    expect(decodeName(Uint8Array.of(97, 98, 99, 100), 1, 3)).toBe('bc');
    expect(decodeName(Uint8Array.of(0xe6, 0x97, 0xa5), 0, 2)).toBe('\udce6\udc97');
  });
});
