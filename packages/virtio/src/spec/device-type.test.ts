import { describe, expect, it } from 'vitest';
import { deviceType } from './device-type.ts';
import { FeatureSet } from './features.ts';
import { le16, le32, struct } from './layout.ts';

const type = deviceType({
  id: 3,
  name: 'console',
  features: { SIZE: 0, MULTIPORT: 1, FAST: { bit: 64, requires: ['MULTIPORT', 'EVENT_IDX'] } },
  queues: {
    receiveq: { first: [0], from: 4, every: 2, numberedFrom: 0 },
    control: { first: [2], requires: 'MULTIPORT' },
    plain: 3,
  },
  config: struct('config', { cols: le16, rows: le16, emerg_wr: le32 }),
  configRequires: { cols: 'SIZE' },
  driverWritable: ['emerg_wr'],
});

describe('deviceType', () => {
  it('finds queues of a family by name and by index', () => {
    expect([0, 1, 2, 3].map((number) => type.queueIndex('receiveq', number))).toEqual([0, 4, 6, 8]);
    expect(type.queueIndex('control', 1)).toBeUndefined();
    expect(type.queueIndex('plain', 1)).toBeUndefined();
    for (const index of [0, 2, 3, 4, 6, 8, 400]) {
      const found = type.queueAt(index);
      expect(found && type.queueIndex(found.name, found.number)).toBe(index);
    }
    expect(type.queueAt(5)).toBeUndefined();
    expect([0, 4, 3, 5].map((index) => type.queueLabel(index))).toEqual([
      'receiveq0',
      'receiveq1',
      'plain',
      'queue5',
    ]);
  });

  it('names features, the reserved and the unknown ones too', () => {
    expect(type.featureNames(FeatureSet.of([0, 7, 32, 64]))).toEqual(['SIZE', 'bit7', 'VERSION_1', 'FAST']);
    expect(type.featureSet(['FAST', 'SIZE']).bits()).toEqual([0, 64]);
  });

  it('tells what a feature lacks', () => {
    expect(type.missingRequirements(type.featureSet(['FAST', 'MULTIPORT']))).toEqual([
      { feature: 'FAST', requires: 'EVENT_IDX' },
    ]);
    expect(type.missingRequirements(type.featureSet(['FAST', 'MULTIPORT', 'EVENT_IDX']))).toEqual([]);
  });

  it('refuses a declaration that contradicts itself or the specification', () => {
    const declare = (features: Record<string, number>) => () =>
      deviceType({ id: 4, name: 'broken', features, queues: {} });
    expect(declare({ A: 5, B: 5 })).toThrow(/share bit 5/);
    expect(declare({ A: 33 })).toThrow(/reserved bit 33/);
    expect(() => declare({ A: 50, B: 42 })()).not.toThrow();
    expect(() => deviceType({ id: 64, name: 'far', features: {}, queues: {} })).toThrow(/between 1 and 63/);
  });
});
