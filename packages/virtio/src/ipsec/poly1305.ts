import { getLe32, putLe32 } from './little-endian.ts';

/** Numbers are six limbs of 22 bits: all products of a step, summed up, are exact in a double. */
const limbBits = 22;
const mask = 0x3f_ffff;
const radix = 2 ** limbBits;
/** 2^132 is 20 more than a multiple of the prime 2^130 − 5. */
const wrap = 20;
const prime = (1n << 130n) - 5n;
const all128 = (1n << 128n) - 1n;

/** Poly1305 (RFC 8439, 2.5) over whole blocks of 16 bytes, as an AEAD makes them. One serves message after message. */
export class Poly1305 {
  readonly #r = new Float64Array(6);
  readonly #h = new Float64Array(6);
  readonly #product = new Float64Array(6);
  readonly #block = new Float64Array(6);
  readonly #padded = new Uint8Array(16);
  #s = 0n;

  /** Begins with a key of 32 bytes, which is good for one message. */
  begin(key: Uint8Array): void {
    this.#h.fill(0);
    const clamped = this.#padded;
    for (let i = 0; i < 16; i++) clamped[i] = key[i]!;
    for (const i of [3, 7, 11, 15]) clamped[i] = clamped[i]! & 15;
    for (const i of [4, 8, 12]) clamped[i] = clamped[i]! & 252;
    split(clamped, 0, this.#r, 0);
    this.#s = 0n;
    for (let i = 3; i >= 0; i--) this.#s = (this.#s << 32n) | BigInt(getLe32(key, 16 + 4 * i));
  }

  /** Takes bytes, and zeros up to a whole block. */
  update(bytes: Uint8Array): void {
    const whole = bytes.length & ~15;
    for (let at = 0; at < whole; at += 16) this.#take(bytes, at);
    if (whole === bytes.length) return;
    this.#padded.fill(0);
    for (let i = whole; i < bytes.length; i++) this.#padded[i - whole] = bytes[i]!;
    this.#take(this.#padded, 0);
  }

  /** Writes the tag, of 16 bytes. */
  finish(tag: Uint8Array): void {
    let h = 0n;
    for (let i = 5; i >= 0; i--) h = (h << BigInt(limbBits)) + BigInt(this.#h[i]!);
    let rest = ((h % prime) + this.#s) & all128;
    for (let i = 0; i < 4; i++, rest >>= 32n) putLe32(tag, 4 * i, Number(rest & 0xffff_ffffn));
  }

  #take(bytes: Uint8Array, at: number): void {
    const h = this.#h;
    const r = this.#r;
    const product = this.#product;
    const block = this.#block;
    split(bytes, at, block, 1 << 18);
    for (let i = 0; i < 6; i++) h[i] = h[i]! + block[i]!;
    for (let k = 0; k < 6; k++) {
      let low = 0;
      let high = 0;
      for (let i = 0; i <= k; i++) low += h[i]! * r[k - i]!;
      for (let i = k + 1; i < 6; i++) high += h[i]! * r[k + 6 - i]!;
      product[k] = low + wrap * high;
    }
    let carry = 0;
    for (let k = 0; k < 6; k++) {
      const sum = product[k]! + carry;
      carry = Math.floor(sum / radix);
      h[k] = sum - carry * radix;
    }
    const first = h[0]! + wrap * carry;
    carry = Math.floor(first / radix);
    h[0] = first - carry * radix;
    h[1] = h[1]! + carry;
  }
}

/** Sixteen bytes as limbs; `top` is added to the last one. */
function split(bytes: Uint8Array, at: number, limbs: Float64Array, top: number): void {
  const a = getLe32(bytes, at);
  const b = getLe32(bytes, at + 4);
  const c = getLe32(bytes, at + 8);
  const d = getLe32(bytes, at + 12);
  limbs[0] = a & mask;
  limbs[1] = ((a >>> 22) | (b << 10)) & mask;
  limbs[2] = ((b >>> 12) | (c << 20)) & mask;
  limbs[3] = (c >>> 2) & mask;
  limbs[4] = ((c >>> 24) | (d << 8)) & mask;
  limbs[5] = (d >>> 14) + top;
}
