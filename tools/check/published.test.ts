import { describe, expect, it } from 'vitest';
import { checkPublished } from './published.ts';
import { sourcesOf, workspace } from './repository.fixture.ts';

const check = (path: string, specifier: string) =>
  checkPublished(sourcesOf({ [path]: `import '${specifier}';` }), workspace);

describe('packages are used as published', () => {
  it.each([
    ['packages/node/src/storage/index.ts', 'virtio/spec'],
    ['packages/node/src/storage/index.ts', './file.ts'],
    ['packages/node/src/storage/index.ts', 'node:fs'],
    ['packages/node/src/storage/index.ts', 'koffi'],
    ['packages/v86/src/index.ts', 'v86'],
    ['packages/v86/page/terminal.ts', 'xterm'],
    ['packages/virtio/src/spec/layout.test.ts', 'vitest'],
    ['conformance/node.ts', 'virtio-node/storage'],
    ['conformance/node.ts', '../tools/check.ts'],
  ])('%s may import %s', (path, specifier) => {
    expect(check(path, specifier)).toEqual([]);
  });

  it.each([
    ['a subpath that is not published', 'packages/node/src/storage/index.ts', 'virtio/memory/region'],
    ['another package by path', 'conformance/node.ts', '../packages/virtio/src/spec/index.ts'],
    [
      'another package by path from within one',
      'packages/v86/src/index.ts',
      '../../virtio/src/spec/index.ts',
    ],
    ['a package that is not declared', 'packages/v86/src/index.ts', 'virtio-node/storage'],
    ['a development dependency in what is shipped', 'packages/v86/src/index.ts', 'xterm'],
    ['anything at all from virtio', 'packages/virtio/src/spec/layout.ts', 'node:buffer'],
    ['a test library nobody declares', 'packages/virtio/src/spec/layout.test.ts', 'chai'],
  ])('refuses %s', (_, path, specifier) => {
    expect(check(path, specifier)).toMatchObject([{ file: path, line: 1 }]);
  });
});
