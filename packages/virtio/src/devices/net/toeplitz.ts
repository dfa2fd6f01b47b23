/** Bytes that are hashed at most: two IPv6 addresses and two ports. */
const longestInput = 36;

/** The bits that move the window over the key: 32. */
const window = 4;

/**
 * The Toeplitz hash of one key: for each bit of the input that is set, 32 bits of the key from there on, joined by XOR. It is
 * linear, so there is a table of what each value of each byte adds, and a hash costs one look-up a byte.
 */
export class Toeplitz {
  readonly key: Uint8Array;
  /** 256 values for each byte of the input. */
  readonly #table: Int32Array = new Int32Array(256 * longestInput);

  /** A key that is too short for the input goes on with zeroes. */
  constructor(key: Uint8Array) {
    this.key = key.slice();
    const long = new Uint8Array(longestInput + window + 1);
    long.set(key.subarray(0, long.length));
    for (let at = 0; at < longestInput; at++) {
      const base = 256 * at;
      let word = (long[at]! << 24) | (long[at + 1]! << 16) | (long[at + 2]! << 8) | long[at + 3]!;
      for (let bit = 7; bit >= 0; bit--) {
        this.#table[base + (1 << bit)] = word;
        word = (word << 1) | ((long[at + window]! >>> bit) & 1);
      }
      for (let value = 1; value < 256; value++) {
        const lowest = value & -value;
        this.#table[base + value] = this.#table[base + lowest]! ^ this.#table[base + (value ^ lowest)]!;
      }
    }
  }

  /** The hash of the first `length` bytes, at most 36, as an unsigned number of 32 bits. */
  hash(input: Uint8Array, length: number): number {
    const table = this.#table;
    let hash = 0;
    for (let at = 0; at < length; at++) hash ^= table[256 * at + input[at]!]!;
    return hash >>> 0;
  }
}
