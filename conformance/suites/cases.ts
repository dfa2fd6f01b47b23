import {
  type Bus,
  type CaseResult,
  configurationsFor,
  fixturesOn,
  runDeviceCase,
  runDriverCase,
  subjectOf,
} from 'virtio/testing';
import { describe, it } from 'vitest';
import { allCases } from '../cases/index.ts';

/** For machines that have much else to do. */
const patience = { timeout: 60_000 };

/** Every case, held to our devices and drivers on a bus. */
export function describeCases(bus: Bus): void {
  describe.each(fixturesOn(bus))('the $name', (fixture) => {
    for (const one of allCases) {
      it(`${one.side}: ${one.statement}`, patience, async (context) => {
        const results: CaseResult[] = [];
        for (const configuration of configurationsFor(one, [bus])) {
          results.push(
            one.side === 'device'
              ? await runDeviceCase(one, subjectOf(fixture, bus), configuration)
              : await runDriverCase(one, { fixture, bus }, configuration),
          );
        }
        const failed = results.filter(({ outcome }) => outcome === 'failed');
        if (failed.length > 0) {
          const lines = failed.map(({ configuration, reason }) => `${configuration}: ${reason}`);
          throw new Error(`${one.clause}\n${lines.join('\n')}`);
        }
        const skipped = results.filter(({ outcome }) => outcome === 'skipped');
        if (skipped.length === results.length) {
          context.skip([...new Set(skipped.map(({ reason }) => reason))].join('; '));
        }
      });
    }
  });
}
