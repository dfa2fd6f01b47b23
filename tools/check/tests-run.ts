import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join, relative, sep } from 'node:path';
import { tagsOf } from '../clauses/tags.ts';
import type { ImportGraph } from '../source/import-graph.ts';
import type { Source } from '../source/source.ts';
import type { Finding } from './finding.ts';

/** Every test file is one that vitest runs, and what cites clauses for them is imported by one of them. */
export function checkTestsRun(
  sources: readonly Source[],
  graph: ImportGraph,
  run: ReadonlySet<string>,
): Finding[] {
  const reached = new Set([...run].flatMap((file) => [...graph.reachableFrom(file, () => true)]));
  return sources.filter(isToRun).flatMap(({ path }) => {
    if (path.endsWith('.test.ts')) {
      return run.has(path)
        ? []
        : [{ file: path, message: 'is in no project of vitest.config.ts: it never runs' }];
    }
    return reached.has(path) ? [] : [{ file: path, message: 'cites clauses, and no test imports it' }];
  });
}

function isToRun(source: Source): boolean {
  if (/\.(test|case)\.ts$/.test(source.path)) return true;
  return tagsOf(source).some(({ kind }) => kind === 'holds');
}

/** The test files of all of vitest's projects, from the repository's root. */
export function listTestFiles(root: string): Set<string> {
  const require = createRequire(import.meta.url);
  const vitest = join(dirname(require.resolve('vitest/package.json')), 'vitest.mjs');
  const { stdout, stderr, status } = spawnSync(process.execPath, [vitest, 'list', '--filesOnly', '--json'], {
    cwd: root,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`vitest could not list its files: ${stderr}`);
  const files: readonly { readonly file: string }[] = JSON.parse(stdout);
  return new Set(files.map(({ file }) => relative(root, file).replaceAll(sep, '/')));
}
