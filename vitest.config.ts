import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** Tests read the sources, not `dist`: every package exports them under this condition. */
const resolve = { conditions: ['source', 'module', 'import', 'default'] };
const ssr = { resolve };

/** For machines that have much else to do: what hangs is found all the same. */
const patience = { testTimeout: 60_000, hookTimeout: 60_000, setupFiles: ['tools/test/patience.ts'] };

/**
 * What needs a process of its own for each file: it counts the descriptors and mappings of its process, changes
 * its environment, or puts another module or function in place of one.
 */
const isolated = '**/*.isolated.test.ts';

export default defineConfig({
  test: {
    // Left alone, vitest keeps one core free, of two as well.
    maxWorkers: Math.min(availableParallelism(), Math.max(availableParallelism() - 1, 2)),
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
          exclude: ['**/*.matrix.test.ts', isolated],
          ...patience,
          // A worker loads the sources once for all its files.
          isolate: false,
        },
      },
      {
        resolve,
        ssr,
        test: {
          // `--project quick` asks for both, since it takes capitals for small letters.
          name: 'Quick',
          include: [`packages/*/src/${isolated}`],
          ...patience,
          sequence: { groupOrder: 1 },
        },
      },
      {
        resolve,
        ssr,
        test: {
          name: 'matrix',
          include: ['conformance/**/*.matrix.test.ts'],
          ...patience,
          isolate: false,
          // Behind the quick tests, which say sooner what is wrong.
          sequence: { groupOrder: 2 },
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
          sequence: { groupOrder: 3 },
          maxWorkers: 2,
        },
      },
    ],
  },
});
