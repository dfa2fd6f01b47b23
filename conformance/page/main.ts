import {
  buses,
  type CaseResult,
  type ConformanceReport,
  fixturesOn,
  runConformance,
  subjectOf,
} from 'virtio/testing';
import { allCases } from '../cases/index.ts';

const counts = { passed: 0, failed: 0, skipped: 0 };

/** Runs every case against every device and driver of ours, in this page, and shows what failed. */
export const report: Promise<ConformanceReport> = runConformance({
  cases: allCases,
  devices: buses.flatMap((bus) => fixturesOn(bus).map((fixture) => subjectOf(fixture, bus))),
  drivers: buses.flatMap((bus) => fixturesOn(bus).map((fixture) => ({ fixture, bus }))),
  onResult: show,
});

function show({ outcome, number, subject, statement, configuration, reason }: CaseResult): void {
  counts[outcome]++;
  document.title = `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`;
  if (outcome !== 'failed') return;
  const line = document.createElement('p');
  line.textContent = `${number} ${subject}: ${statement} (${configuration}): ${reason}`;
  document.body.append(line);
}
