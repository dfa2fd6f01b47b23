import { describe, expect, it } from 'vitest';
import { chacha20Poly1305 } from './chacha20-poly1305.ts';

const bytes = (hex: string): Uint8Array =>
  Uint8Array.from(hex.replaceAll(/\s/g, '').match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));

/** RFC 8439, 2.8.2. */
const vector = {
  key: bytes('808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f'),
  nonce: bytes('070000004041424344454647'),
  associated: bytes('50515253c0c1c2c3c4c5c6c7'),
  text: Uint8Array.from(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    (letter) => letter.charCodeAt(0),
  ),
  sealed: bytes(`
    d31a8d34648e60db7b86afbc53ef7ec2 a4aded51296e08fea9e2b5a736ee62d6
    3dbea45e8ca9671282fafb69da92728b 1a71de0a9e060b2905d6a5b67ecd3b36
    92ddbd7f2d778b8c9803aee328091b58 fab324e4fad675945585808b4831d7bc
    3ff4def08e4b7a9de576d26586cec64b 6116`),
  tag: bytes('1ae10b594f09e26a7e902ecbd0600691'),
};

describe('ChaCha20-Poly1305', () => {
  it('seals as its RFC shows', () => {
    const text = vector.text.slice();
    const tag = new Uint8Array(16);
    chacha20Poly1305.key(vector.key).seal(vector.nonce, vector.associated, text, tag);
    expect(text).toEqual(vector.sealed);
    expect(tag).toEqual(vector.tag);
  });

  it('opens what was sealed, and nothing else', () => {
    const key = chacha20Poly1305.key(vector.key);
    for (let length = 0; length < 200; length += 7) {
      const text = Uint8Array.from({ length }, (_, i) => i * 3);
      const sealed = text.slice();
      const tag = new Uint8Array(16);
      key.seal(vector.nonce, vector.associated.subarray(0, length % 13), sealed, tag);
      const wrong = tag.slice();
      wrong[length % 16]! ^= 0x10;
      expect(key.open(vector.nonce, vector.associated.subarray(0, length % 13), sealed.slice(), wrong)).toBe(
        false,
      );
      expect(
        key.open(vector.nonce, vector.associated.subarray(0, (length + 1) % 13), sealed.slice(), tag),
      ).toBe(false);
      expect(key.open(vector.nonce, vector.associated.subarray(0, length % 13), sealed, tag)).toBe(true);
      expect(sealed).toEqual(text);
    }
  });
});
