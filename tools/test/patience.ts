import { vi } from 'vitest';

/** A look each millisecond; what never comes is for the test's own time limit to find, nearly. */
const patience = { interval: 1, timeout: 50_000 };
const { waitFor } = vi;

/**
 * `vi.waitFor` as the quick tests have it. By itself it looks every 50 ms, which a test of many messages spends
 * on each of them, and gives up after one second, in which a machine with much else to do gets nowhere.
 */
const patientWaitFor: typeof waitFor = (check, options) =>
  waitFor(check, { ...patience, ...(typeof options === 'number' ? { timeout: options } : options) });

// Files that share a worker come here one after the other.
if (waitFor.name !== patientWaitFor.name) vi.waitFor = patientWaitFor;
