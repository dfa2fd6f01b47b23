import { defineConfig } from 'vitest/config';

/** Tests read the sources, not `dist`: every package exports them under this condition. */
const resolve = { conditions: ['source', 'module', 'import', 'default'] };
const ssr = { resolve };

export default defineConfig({
  test: {
    projects: [
      {
        resolve,
        ssr,
        test: {
          name: 'quick',
          include: [
            'packages/*/src/**/*.test.ts',
            'conformance/**/*.test.ts',
            'examples/**/*.test.ts',
            'tools/**/*.test.ts',
          ],
          exclude: ['**/*.matrix.test.ts'],
          // For machines that have much else to do: what hangs is found all the same.
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        resolve,
        ssr,
        test: {
          name: 'matrix',
          include: ['conformance/**/*.matrix.test.ts'],
          testTimeout: 60_000,
          // Behind the quick tests, which say sooner what is wrong.
          sequence: { groupOrder: 1 },
        },
      },
      {
        resolve,
        ssr,
        test: {
          name: 'guests',
          include: ['guests/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          // Behind the others, and at most two guests at a time.
          sequence: { groupOrder: 2 },
          maxWorkers: 2,
        },
      },
    ],
  },
});
