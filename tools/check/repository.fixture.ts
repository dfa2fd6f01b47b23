import { ImportGraph } from '../source/import-graph.ts';
import { parseSource, type Source } from '../source/source.ts';
import { packageFrom, type Workspace } from '../source/workspace.ts';

/** A small workspace in memory: `virtio` and two packages above it. */
export const workspace: Workspace = {
  packages: [
    packageFrom('packages/virtio', {
      name: 'virtio',
      exports: { './spec': { source: './src/spec/index.ts' } },
    }),
    packageFrom('packages/node', {
      name: 'virtio-node',
      exports: { './storage': { source: './src/storage/index.ts' } },
      dependencies: { virtio: '0.1.0', koffi: '^3.0.0' },
    }),
    packageFrom('packages/v86', {
      name: 'virtio-v86',
      dependencies: { virtio: '0.1.0' },
      peerDependencies: { v86: '*' },
      devDependencies: { xterm: '*' },
    }),
  ],
  devDependencies: new Set(['vitest']),
};

/** Files in memory: path to text. */
export function sourcesOf(files: Readonly<Record<string, string>>): Source[] {
  return Object.entries(files).map(([path, text]) => parseSource(path, text));
}

/** The same, where only `packages/virtio/src` matters: each file with what it imports. */
export function graphOf(imports: Readonly<Record<string, readonly string[]>>): ImportGraph {
  const files = Object.entries(imports).map(([path, specifiers]) => [
    `packages/virtio/src/${path}`,
    specifiers.map((specifier) => `import '${specifier}';\n`).join(''),
  ]);
  return new ImportGraph(sourcesOf(Object.fromEntries(files)), workspace);
}
