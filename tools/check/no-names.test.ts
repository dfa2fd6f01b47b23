import { describe, expect, it } from 'vitest';
import { checkNoNames } from './no-names.ts';
import { sourcesOf } from './repository.fixture.ts';

const check = (text: string, path = 'packages/virtio/src/device/core.ts') =>
  checkNoNames(sourcesOf({ [path]: text }));

describe('shared code names no device type and no transport', () => {
  it.each([
    "if (type.name === 'blk') sectors();",
    "const window = bus === 'PCI';",
    'const name = `virtio-net`;',
    "const structure = struct('virtio_console_config', {});",
    'declare const isPciDevice: boolean;',
    'declare const VIRTIO_BLK_S_OK: number;',
  ])('refuses %s', (text) => {
    expect(check(text)).toHaveLength(1);
  });

  it.each([
    '// a block device (blk) behind PCI',
    "throw new UsageError('BAD_STATE', 'the driver can not write the input');",
    'const input = mem.net;',
    "const structure = struct('virtq_desc', {});",
  ])('admits %s', (text) => {
    expect(check(text)).toEqual([]);
  });

  it('speaks of layers 0 to 3 alone, and not of their tests', () => {
    expect(check("'blk'", 'packages/virtio/src/devices/blk/spec.ts')).toEqual([]);
    expect(check("'blk'", 'packages/virtio/src/testing/matrix.ts')).toEqual([]);
    expect(check("'blk'", 'packages/virtio/src/device/core.test.ts')).toEqual([]);
    expect(check("'blk'", 'packages/virtio/src/memory/region.ts')).toHaveLength(1);
  });
});
