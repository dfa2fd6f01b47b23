import { aeadAlgorithm } from './algorithms.ts';
import type { AeadKey, EspAead } from './crypto.ts';
import { equal } from './equal.ts';
import { getLe32, putLe32 } from './little-endian.ts';
import { Poly1305 } from './poly1305.ts';

const rounds = 10;
/** "expand 32-byte k" */
const constants = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574] as const;

/** ChaCha20-Poly1305 (RFC 8439), with keys of 32 bytes and nonces of 12. Plain JavaScript without tables: it runs anywhere. */
export const chacha20Poly1305: EspAead = Object.freeze({
  algorithm: aeadAlgorithm.CHACHA20_POLY1305,
  keyLengths: [32],
  key: (bytes: Uint8Array): AeadKey => new ChaChaKey(bytes),
});

class ChaChaKey implements AeadKey {
  /** Constants, key, block counter, nonce. */
  readonly #input = new Uint32Array(16);
  readonly #state = new Uint32Array(16);
  readonly #block = new Uint8Array(64);
  readonly #lengths = new Uint8Array(16);
  readonly #tag = new Uint8Array(16);
  readonly #poly = new Poly1305();

  constructor(key: Uint8Array) {
    this.#input.set(constants);
    for (let i = 0; i < 8; i++) this.#input[4 + i] = getLe32(key, 4 * i);
  }

  seal(nonce: Uint8Array, associated: Uint8Array, text: Uint8Array, tag: Uint8Array): void {
    this.#setNonce(nonce);
    this.#crypt(text);
    this.#sign(associated, text, tag);
  }

  open(nonce: Uint8Array, associated: Uint8Array, text: Uint8Array, tag: Uint8Array): boolean {
    this.#setNonce(nonce);
    this.#sign(associated, text, this.#tag);
    if (!equal(this.#tag, tag)) return false;
    this.#crypt(text);
    return true;
  }

  #setNonce(nonce: Uint8Array): void {
    for (let i = 0; i < 3; i++) this.#input[13 + i] = getLe32(nonce, 4 * i);
  }

  #sign(associated: Uint8Array, text: Uint8Array, tag: Uint8Array): void {
    const poly = this.#poly;
    const lengths = this.#lengths;
    this.#next(0);
    poly.begin(this.#block);
    poly.update(associated);
    poly.update(text);
    putLe32(lengths, 0, associated.length);
    putLe32(lengths, 8, text.length);
    poly.update(lengths);
    poly.finish(tag);
  }

  #crypt(text: Uint8Array): void {
    const block = this.#block;
    for (let at = 0, counter = 1; at < text.length; at += 64, counter++) {
      this.#next(counter);
      const end = Math.min(64, text.length - at);
      for (let i = 0; i < end; i++) text[at + i] = text[at + i]! ^ block[i]!;
    }
  }

  /** Makes a block of the key stream. */
  #next(counter: number): void {
    const input = this.#input;
    const state = this.#state;
    input[12] = counter;
    state.set(input);
    for (let i = 0; i < rounds; i++) {
      quarter(state, 0, 4, 8, 12);
      quarter(state, 1, 5, 9, 13);
      quarter(state, 2, 6, 10, 14);
      quarter(state, 3, 7, 11, 15);
      quarter(state, 0, 5, 10, 15);
      quarter(state, 1, 6, 11, 12);
      quarter(state, 2, 7, 8, 13);
      quarter(state, 3, 4, 9, 14);
    }
    for (let i = 0; i < 16; i++) putLe32(this.#block, 4 * i, (state[i]! + input[i]!) | 0);
  }
}

function quarter(state: Uint32Array, ai: number, bi: number, ci: number, di: number): void {
  let a = state[ai]! | 0;
  let b = state[bi]! | 0;
  let c = state[ci]! | 0;
  let d = state[di]! | 0;
  a = (a + b) | 0;
  d ^= a;
  d = (d << 16) | (d >>> 16);
  c = (c + d) | 0;
  b ^= c;
  b = (b << 12) | (b >>> 20);
  a = (a + b) | 0;
  d ^= a;
  d = (d << 8) | (d >>> 24);
  c = (c + d) | 0;
  b ^= c;
  b = (b << 7) | (b >>> 25);
  state[ai] = a;
  state[bi] = b;
  state[ci] = c;
  state[di] = d;
}
