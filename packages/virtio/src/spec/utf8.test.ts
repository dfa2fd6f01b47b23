import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeUtf8, encodeUtf8 } from './utf8.ts';

describe('UTF-8', () => {
  it('encodes as the engine does, and decodes what it encoded', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const encoded = encodeUtf8(text);
        expect(encoded).toEqual(new Uint8Array(new TextEncoder().encode(text)));
        expect(decodeUtf8(encoded)).toBe(text);
      }),
    );
  });

  it('decodes any bytes to something', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => decodeUtf8(bytes).length <= bytes.length));
    expect(decodeUtf8(Uint8Array.of(0x41, 0xff, 0x42))).toBe('A\ufffdB');
  });

  it('refuses half of a surrogate pair', () => {
    expect(() => encodeUtf8('\ud800')).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });
});
