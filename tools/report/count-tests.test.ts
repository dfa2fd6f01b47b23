import { expect, it } from 'vitest';
import { closingLine } from './count-tests.ts';

it('counts tests, and files that failed to load', () => {
  const report = {
    numPassedTests: 7,
    numFailedTests: 1,
    testResults: [
      { status: 'passed', assertionResults: [{ status: 'passed' }] },
      { status: 'failed', assertionResults: [{ status: 'passed' }, { status: 'failed' }] },
      { status: 'failed', assertionResults: [] },
    ],
  };
  expect(closingLine(report)).toBe('7 passed, 2 failed');
});
