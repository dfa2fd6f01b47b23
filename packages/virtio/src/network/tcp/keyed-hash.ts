/** A function of words that only those can compute who know its key: HalfSipHash-2-4, with 32 bits of output. */
export class KeyedHash {
  readonly #k0: number;
  readonly #k1: number;
  #v0 = 0;
  #v1 = 0;
  #v2 = 0;
  #v3 = 0;
  #words = 0;

  /** @param random fills the bytes with what nobody can guess */
  constructor(random: (bytes: Uint8Array) => void) {
    const key = new Uint8Array(8);
    random(key);
    const words = new DataView(key.buffer);
    this.#k0 = words.getInt32(0, true);
    this.#k1 = words.getInt32(4, true);
  }

  /** Begins anew. */
  begin(): this {
    this.#v0 = this.#k0;
    this.#v1 = this.#k1;
    this.#v2 = 0x6c796765 ^ this.#k0;
    this.#v3 = 0x74656462 ^ this.#k1;
    this.#words = 0;
    return this;
  }

  /** Takes a word of 32 bits. */
  word(value: number): this {
    this.#v3 ^= value;
    this.#round();
    this.#round();
    this.#v0 ^= value;
    this.#words++;
    return this;
  }

  /** Takes bytes, as many as words have. */
  bytes(bytes: Uint8Array): this {
    for (let at = 0; at < bytes.length; at += 4) {
      this.word(bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    }
    return this;
  }

  /** What comes of the words, signed. */
  end(): number {
    this.word(this.#words << 26);
    this.#v2 ^= 0xff;
    for (let i = 0; i < 4; i++) this.#round();
    return this.#v1 ^ this.#v3;
  }

  #round(): void {
    let v0 = this.#v0;
    let v1 = this.#v1;
    let v2 = this.#v2;
    let v3 = this.#v3;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    this.#v0 = v0;
    this.#v1 = v1;
    this.#v2 = v2;
    this.#v3 = v3;
  }
}
