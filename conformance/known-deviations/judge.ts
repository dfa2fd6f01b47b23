import type { CaseResult } from 'virtio/testing';
import { expect, type TestContext } from 'vitest';
import type { KnownDeviation } from './deviation.ts';

/** How a case went in one configuration, and what is known of it there. */
export interface JudgedResult extends CaseResult {
  readonly known: KnownDeviation | undefined;
}

/**
 * Fails for a deviation that is not known, and for one that is known and not seen any more; skips where the case applies
 * nowhere.
 */
export function judge(context: TestContext, results: readonly JudgedResult[]): void {
  expect(results.filter(({ outcome, known }) => outcome === 'failed' && !known)).toEqual([]);
  for (const { outcome, reason, known, configuration } of results) {
    if (known === undefined || (known.races && outcome === 'passed')) continue;
    // It keeps the clause now: its record in known-deviations/ is to be removed.
    expect({ configuration, outcome }).toEqual({ configuration, outcome: 'failed' });
    expect(reason).toMatch(known.seen);
  }
  const raced = results.filter(({ known }) => known?.races);
  if (raced.length > 0) expect(raced.map(({ outcome }) => outcome)).toContain('failed');
  const skipped = results.filter(({ outcome }) => outcome === 'skipped');
  if (skipped.length === results.length) context.skip(skipped[0]?.reason);
}
