import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FeatureSet } from './features.ts';

const sets = fc.uniqueArray(fc.nat(127)).map((bits) => ({ bits, set: FeatureSet.of(bits) }));

describe('FeatureSet', () => {
  it('holds exactly the bits it was made of, 0 to 127', () => {
    fc.assert(
      fc.property(sets, ({ bits, set }) => {
        expect(set.bits()).toEqual([...bits].sort((a, b) => a - b));
        expect(FeatureSet.fromWords([0, 1, 2, 3].map((word) => set.word(word))).bits()).toEqual(set.bits());
      }),
    );
  });

  it('shows each word as an unsigned number: bit 31 is no sign', () => {
    expect(FeatureSet.of([31]).word(0)).toBe(0x80000000);
    expect(FeatureSet.of([127]).word(3)).toBe(0x80000000);
    expect(FeatureSet.of([31]).has(31)).toBe(true);
  });

  it('has the algebra of sets', () => {
    fc.assert(
      fc.property(sets, sets, (a, b) => {
        const both = a.set.intersect(b.set);
        expect(both.bits()).toEqual(a.set.bits().filter((bit) => b.set.has(bit)));
        expect(a.set.union(b.set).without(a.set).bits()).toEqual(b.set.without(a.set).bits());
        expect(both.without(a.set).isEmpty()).toBe(true);
      }),
    );
  });

  it('lets a driver write words that do not exist, to no effect', () => {
    expect(FeatureSet.empty.withWord(4, 0xffffffff).isEmpty()).toBe(true);
    expect(FeatureSet.empty.withWord(0xffffffff, 1).isEmpty()).toBe(true);
    expect(FeatureSet.of([5]).word(9)).toBe(0);
  });

  it('refuses bits outside 0 to 127', () => {
    for (const bit of [-1, 128, 1.5]) expect(() => FeatureSet.of([bit])).toThrow(/between 0 and 127/);
  });
});
