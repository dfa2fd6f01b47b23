import { describe, expect, it } from 'vitest';
import { deviceType, type FeatureDeclaration, type SettledDevice } from './device-type.ts';
import { FeatureSet } from './features.ts';
import { hasField } from './has-field.ts';
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
      { feature: 'FAST', anyOf: ['EVENT_IDX'] },
    ]);
    expect(type.missingRequirements(type.featureSet(['FAST', 'MULTIPORT', 'EVENT_IDX']))).toEqual([]);
  });

  it('tells of features that need one of several', () => {
    const choosy = deviceType({
      id: 4,
      name: 'choosy',
      features: { A: 0, B: 1, C: { bit: 2, requires: [['A', 'B'], 'VERSION_1'] } },
      queues: {},
      config: struct('config', { either: le16 }),
      configRequires: { either: ['A', 'B'] },
    });
    const granted: string[] = [];
    const lacks = (...names: ('A' | 'B' | 'C' | 'VERSION_1')[]) =>
      choosy.missingRequirements(choosy.featureSet(names), granted).map(({ anyOf }) => anyOf.join(' or '));
    expect(lacks('C')).toEqual(['A or B', 'VERSION_1']);
    expect(lacks('C', 'B', 'VERSION_1')).toEqual([]);
    granted.push('A');
    expect(lacks('C')).toEqual(['VERSION_1']);
    expect(hasField(choosy, 'either', choosy.featureSet(['B']))).toBe(true);
    expect(hasField(choosy, 'either', choosy.featureSet(['C']))).toBe(false);
    const features: Record<string, FeatureDeclaration> = { A: { bit: 0, requires: [['D', 'E']] } };
    const broken = () => deviceType({ id: 4, name: 'broken', features, queues: {} });
    expect(broken).toThrow(/requires D, which is unknown/);
  });

  it('finds a queue that stands behind as many as were negotiated', () => {
    const end = ({ has, config: { pairs } }: SettledDevice): number =>
      2 * ((has('MANY') || has('MORE')) && typeof pairs === 'number' && pairs > 0 ? pairs : 1);
    const moving = deviceType({
      id: 4,
      name: 'moving',
      features: { MANY: 0, MORE: 1 },
      queues: {
        in: { from: 0, every: 2, moved: (settled) => ({ until: end(settled) }) },
        out: { from: 1, every: 2, moved: (settled) => ({ until: end(settled) }) },
        last: { moved: (settled) => ({ first: [end(settled)] }) },
      },
      config: struct('config', { pairs: le16 }),
    });
    const settled = (pairs: unknown, ...features: string[]) => ({
      has: (feature: string) => features.includes(feature),
      config: { pairs },
    });
    for (const [one, at] of [
      [undefined, 2],
      [settled(4), 2],
      [settled(4, 'MANY'), 8],
      [settled(3, 'MORE', 'MANY'), 6],
      [settled(0, 'MANY'), 2],
      [settled(undefined, 'MANY'), 2],
    ] as const) {
      expect(moving.queueIndex('last', 0, one)).toBe(at);
      expect(moving.queueAt(at, one)).toEqual({ name: 'last', number: 0 });
      expect(moving.queueLabel(at, one)).toBe('last');
      expect(moving.queueAt(at - 1, one)).toEqual({ name: 'out', number: at / 2 - 1 });
      expect(moving.queueIndex('in', at / 2 - 1, one)).toBe(at - 2);
      expect(moving.queueIndex('in', at / 2, one)).toBeUndefined();
      expect(moving.queueAt(at + 1, one)).toBeUndefined();
    }
    expect(moving.queueIndex('last', 1)).toBeUndefined();
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
