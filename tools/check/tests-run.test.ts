import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ImportGraph } from '../source/import-graph.ts';
import { sourcesOf, workspace } from './repository.fixture.ts';
import { checkTestsRun, listTestFiles } from './tests-run.ts';

const check = (files: Readonly<Record<string, string>>, run: readonly string[]) => {
  const sources = sourcesOf(files);
  return checkTestsRun(sources, new ImportGraph(sources, workspace), new Set(run)).map(({ file }) => file);
};

describe('what is written as a test runs', () => {
  it('admits tests, and the cases and fixtures they import', () => {
    const files = {
      'conformance/cases.test.ts': "import './cases/index.ts';",
      'conformance/cases/index.ts': "export * from './framing.case.ts';",
      'conformance/cases/framing.case.ts': '',
    };
    expect(check(files, ['conformance/cases.test.ts'])).toEqual([]);
  });

  it('refuses a test file that vitest does not list', () => {
    expect(check({ 'packages/v86/page/disk.test.ts': '' }, [])).toEqual(['packages/v86/page/disk.test.ts']);
  });

  it('refuses cases and cited fixtures that no test imports', () => {
    const files = {
      'conformance/cases/framing.case.ts': '',
      'packages/virtio/src/virtqueue/ring.fixture.ts': '// @holds 2.1 device: A\nit("one", () => {});',
      'packages/virtio/src/virtqueue/memory.fixture.ts': '',
    };
    expect(check(files, [])).toEqual([
      'conformance/cases/framing.case.ts',
      'packages/virtio/src/virtqueue/ring.fixture.ts',
    ]);
  });

  it('asks vitest for the list', () => {
    const root = fileURLToPath(new URL('../..', import.meta.url));
    expect(listTestFiles(root)).toContain('tools/check/tests-run.test.ts');
  });
});
