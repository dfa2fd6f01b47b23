import { describe, expect, it } from 'vitest';
import { parseClauses } from './clause-list.ts';
import { type DeclaredStatus, statusOfAll } from './status.ts';

const clauses = parseClauses(
  'clause\tside\ttitle\tlabel\n2.1\tdevice\tA\tBasics / A\n5.1.1\tdriver\tB\tTypes / Net\n5.1.2\tdevice\tB\tTypes / Net / Receive\n',
);
const test = (clause: string) => ({ clause, title: 'one', file: 'a.test.ts' });
const nothing: DeclaredStatus = { heldByTypes: {}, notObservable: {}, notYet: {}, notYetBelow: [] };
const net = { below: 'Types / Net', why: 'not built yet' };

const summary = (declared: Partial<DeclaredStatus>, tested: readonly string[] = []) => {
  const { statuses, findings } = statusOfAll(clauses, tested.map(test), { ...nothing, ...declared });
  return {
    names: [...statuses.values()].map(({ status }) => status),
    problems: findings.map(({ message }) => message),
  };
};

describe('the status of a clause', () => {
  it('comes from tests, from the tables, and from the beginning of the label', () => {
    expect(summary({ notYetBelow: [net] }, ['device: Basics / A'])).toEqual({
      names: ['tested', 'not yet', 'not yet'],
      problems: [],
    });
    expect(summary({ heldByTypes: { 'device: Basics / A': 'branded' }, notYetBelow: [net] }).names[0]).toBe(
      'held by types',
    );
  });

  it('is that of the test where a rule covers what is left', () => {
    const tested = ['device: Basics / A', 'driver: Types / Net'];
    expect(summary({ notYetBelow: [net] }, tested)).toEqual({
      names: ['tested', 'tested', 'not yet'],
      problems: [],
    });
  });

  it('is missed', () => {
    expect(summary({ notYetBelow: [net] }).problems).toEqual(['2.1 device: Basics / A has no status']);
  });

  it('is not two', () => {
    const declared = { notYet: { 'device: Basics / A': 'soon' }, notYetBelow: [net] };
    expect(summary(declared, ['device: Basics / A']).problems).toHaveLength(1);
  });

  it('is not given to what is no clause, nor by a rule that covers nothing', () => {
    const stale = { below: 'Types / Ne', why: 'a label ends at a slash' };
    const declared = { notYet: { 'device: Basics / Z': 'soon' }, notYetBelow: [net, stale] };
    expect(summary(declared, ['device: Basics / A']).problems).toHaveLength(2);
  });
});
