import { describe, expect, it } from 'vitest';
import { ImportGraph } from '../source/import-graph.ts';
import { checkDownward } from './downward.ts';
import { graphOf, sourcesOf, workspace } from './repository.fixture.ts';

describe('imports point downward', () => {
  it('admits lower layers, the own part, and the vocabulary of layer 0', () => {
    const graph = graphOf({
      'devices/blk/device.ts': ['../../device/device.ts', '../../memory/region.ts', './spec.ts'],
      'devices/blk/spec.ts': ['../../spec/layout.ts'],
      'device/device.ts': ['../virtqueue/split/device.ts'],
      'spec/layout.ts': ['../errors.ts'],
      'errors.ts': ['./spec/clauses.ts'],
      'testing/matrix.ts': ['../transports/pci/device.ts', '../transports/loopback/index.ts'],
    });
    expect(checkDownward(graph)).toEqual([]);
  });

  it.each([
    ['upward', 'memory/region.ts', '../virtqueue/chain.ts'],
    ['sideways: device and driver', 'device/device.ts', '../driver/open.ts'],
    ['sideways: two device types', 'devices/blk/device.ts', '../console/spec.ts'],
    ['sideways: a device type and a transport', 'devices/blk/device.ts', '../../transports/pci/device.ts'],
    ['sideways: two transports', 'transports/pci/device.ts', '../loopback/index.ts'],
    ['into the kit', 'devices/blk/device.ts', '../../testing/matrix.ts'],
    ['into a fixture', 'device/device.ts', './device.fixture.ts'],
  ])('refuses an import that goes %s', (_, from, specifier) => {
    expect(checkDownward(graphOf({ [from]: [specifier] }))).toMatchObject([
      { file: `packages/virtio/src/${from}`, line: 1 },
    ]);
  });

  it('sees re-exports, dynamic imports and types written as imports', () => {
    const path = 'packages/virtio/src/memory/region.ts';
    const lines = [
      "export * from '../device/a.ts';",
      "export const lazy = () => import('../device/b.ts');",
      "export type C = import('../device/c.ts').C;",
      "import type { D } from '../device/d.ts';",
    ];
    const graph = new ImportGraph(sourcesOf({ [path]: lines.join('\n') }), workspace);
    expect(checkDownward(graph).map(({ line }) => line)).toEqual([1, 2, 3, 4]);
  });

  it('lets a test import what it likes', () => {
    expect(checkDownward(graphOf({ 'memory/region.test.ts': ['../devices/blk/device.ts'] }))).toEqual([]);
  });

  it('wants every folder in the table', () => {
    expect(checkDownward(graphOf({ 'helpers/strings.ts': [] }))).toMatchObject([
      { file: 'packages/virtio/src/helpers/strings.ts' },
    ]);
  });
});
