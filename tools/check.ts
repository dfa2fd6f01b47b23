/** `npm run check`: everything that holds of this repository beside its tests. Exit status 1 on any finding. */
import { fileURLToPath } from 'node:url';
import { checkAnyEngine } from './check/any-engine.ts';
import { checkBundleSize } from './check/bundle-size.ts';
import { checkCasts } from './check/casts.ts';
import { checkCircles } from './check/circles.ts';
import { checkClauseRecords } from './check/clause-records.ts';
import { checkClauseTags } from './check/clause-tags.ts';
import { runCommand } from './check/command.ts';
import { checkDownward } from './check/downward.ts';
import { type Finding, formatFinding } from './check/finding.ts';
import { checkNoNames } from './check/no-names.ts';
import { checkPublished } from './check/published.ts';
import { checkSides } from './check/sides.ts';
import { checkTestsRun, listTestFiles } from './check/tests-run.ts';
import { readClauses } from './clauses/clause-list.ts';
import { ImportGraph } from './source/import-graph.ts';
import { readSources } from './source/source.ts';
import { readWorkspace } from './source/workspace.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const sources = readSources(root);
const workspace = readWorkspace(root);
const graph = new ImportGraph(sources, workspace);

const parts: readonly (readonly [name: string, run: () => Finding[] | Promise<Finding[]>])[] = [
  ['types of the packages', () => runCommand(root, 'typescript/bin/tsc', '-b')],
  ['types of everything else', () => runCommand(root, 'typescript/bin/tsc', '-p', 'tsconfig.tests.json')],
  [
    'lint and format',
    () => runCommand(root, '@biomejs/biome/bin/biome', 'ci', '--colors=off', '--max-diagnostics=100'),
  ],
  ['layers: downward only', () => checkDownward(graph)],
  ['layers: the sides never meet', () => checkSides(graph)],
  ['layers: published subpaths', () => checkPublished(sources, workspace)],
  ['layers: any engine', () => checkAnyEngine(root, sources)],
  ['layers: no names in shared code', () => checkNoNames(sources)],
  ['layers: no circles', () => checkCircles(graph)],
  ['casts have reasons', () => checkCasts(sources)],
  ['bundle size', checkBundleSize],
  ['every test runs', () => checkTestsRun(sources, graph, listTestFiles(root))],
  ['clause tags', () => checkClauseTags(sources, readClauses(root))],
  ['clause records', () => checkClauseRecords(root, sources)],
];

let total = 0;
for (const [name, run] of parts) {
  const start = performance.now();
  const findings = await run();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const verdict = findings.length === 0 ? 'ok' : `${findings.length} found`;
  console.log(`${name.padEnd(34)} ${verdict.padEnd(10)} ${seconds} s`);
  for (const finding of findings) console.log(`  ${formatFinding(finding)}`);
  total += findings.length;
}
process.exitCode = total > 0 ? 1 : 0;
