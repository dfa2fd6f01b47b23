import { UsageError } from '../errors.ts';

/** The device-independent feature bits (chapter 6), without their prefix `VIRTIO_F_`. */
export const reservedFeatures = Object.freeze({
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
  IN_ORDER: 35,
  ORDER_PLATFORM: 36,
  SR_IOV: 37,
  NOTIFICATION_DATA: 38,
  NOTIF_CONFIG_DATA: 39,
  RING_RESET: 40,
  ADMIN_VQ: 41,
  SUSPEND: 43,
} as const);

/** The name of a device-independent feature. */
export type ReservedFeatureName = keyof typeof reservedFeatures;

/** The reserved features that are the same on every transport: of rings, of memory, of the status. */
export const busFreeFeatures: readonly ReservedFeatureName[] = [
  'INDIRECT_DESC',
  'EVENT_IDX',
  'VERSION_1',
  'ACCESS_PLATFORM',
  'RING_PACKED',
  'IN_ORDER',
  'ORDER_PLATFORM',
  'RING_RESET',
  'SUSPEND',
];

/** Feature bits are 0 to 127: four words of 32 bits. */
export const featureWords = 4;

/** An immutable set of feature bits 0–127. */
export class FeatureSet {
  static readonly empty: FeatureSet = new FeatureSet([0, 0, 0, 0]);

  readonly #words: Uint32Array;

  private constructor(words: ArrayLike<number>) {
    this.#words = Uint32Array.from({ length: featureWords }, (_, i) => words[i] ?? 0);
  }

  /** @throws {UsageError} BAD_ARGUMENT for a bit outside 0–127. */
  static of(bits: Iterable<number>): FeatureSet {
    const words = new Uint32Array(featureWords);
    for (const bit of bits) {
      if (!Number.isInteger(bit) || bit < 0 || bit > 127) {
        throw new UsageError('BAD_ARGUMENT', `feature bit ${bit} is not between 0 and 127`);
      }
      words[bit >>> 5] = (words[bit >>> 5] ?? 0) | (1 << (bit & 31));
    }
    return new FeatureSet(words);
  }

  /** From words of 32 bits, the lowest first; missing ones are 0. */
  static fromWords(words: ArrayLike<number>): FeatureSet {
    return new FeatureSet(words);
  }

  /** The unsigned 32-bit word `index`; 0 for a word that does not exist. */
  word(index: number): number {
    return this.#words[index] ?? 0;
  }

  has(bit: number): boolean {
    return (this.word(bit >>> 5) & (1 << (bit & 31))) !== 0;
  }

  /** This set with the 32-bit word `index` replaced; a word that does not exist changes nothing. */
  withWord(index: number, value: number): FeatureSet {
    const words = this.#words.slice();
    if (index >= 0 && index < featureWords) words[index] = value;
    return new FeatureSet(words);
  }

  union(other: FeatureSet): FeatureSet {
    return new FeatureSet(this.#words.map((word, i) => word | other.word(i)));
  }

  intersect(other: FeatureSet): FeatureSet {
    return new FeatureSet(this.#words.map((word, i) => word & other.word(i)));
  }

  without(other: FeatureSet): FeatureSet {
    return new FeatureSet(this.#words.map((word, i) => word & ~other.word(i)));
  }

  isEmpty(): boolean {
    return this.#words.every((word) => word === 0);
  }

  /** The bits, in rising order. */
  bits(): number[] {
    return Array.from({ length: featureWords * 32 }, (_, bit) => bit).filter((bit) => this.has(bit));
  }
}
