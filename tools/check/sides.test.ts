import { describe, expect, it } from 'vitest';
import { graphOf } from './repository.fixture.ts';
import { checkSides } from './sides.ts';

const inBlk = (name: string): string => `packages/virtio/src/devices/blk/${name}`;

describe('the two sides never meet', () => {
  it('admits sides that share spec and legacy files, and each its own helpers', () => {
    const graph = graphOf({
      'devices/blk/index.ts': ['./device.ts', './driver.ts', './spec.ts'],
      'devices/blk/device.ts': ['./spec.ts', './storage.ts', './legacy.ts', '../../device/device.ts'],
      'devices/blk/driver.ts': ['./spec.ts', './legacy.ts', './request.ts', '../../driver/open.ts'],
      'devices/blk/spec.ts': ['./spec-zoned.ts'],
      'devices/blk/spec-zoned.ts': [],
      'devices/blk/legacy.ts': ['./spec.ts'],
      'devices/blk/storage.ts': [],
      'devices/blk/request.ts': ['./spec.ts'],
    });
    expect(checkSides(graph)).toEqual([]);
  });

  it('refuses a helper that both sides reach, however far', () => {
    const graph = graphOf({
      'devices/blk/device.ts': ['./serve.ts'],
      'devices/blk/serve.ts': ['./sector.ts'],
      'devices/blk/driver.ts': ['./sector.ts'],
      'devices/blk/sector.ts': [],
    });
    expect(checkSides(graph)).toMatchObject([{ file: inBlk('sector.ts') }]);
  });

  it('refuses a driver that reaches the device', () => {
    const graph = graphOf({ 'devices/blk/device.ts': [], 'devices/blk/driver.ts': ['./device.ts'] });
    expect(checkSides(graph)).toMatchObject([{ file: inBlk('device.ts') }]);
  });

  it('refuses the foreign layer-3 folder, by way of the shared file too', () => {
    const graph = graphOf({
      'devices/blk/device.ts': ['./spec.ts'],
      'devices/blk/driver.ts': ['./spec.ts'],
      'devices/blk/spec.ts': ['../../device/device.ts'],
    });
    expect(checkSides(graph)).toMatchObject([{ file: inBlk('spec.ts'), line: 1 }]);
  });

  it('holds the same of transports and rings, whose sides may share any file that is neutral', () => {
    const graph = graphOf({
      'transports/pci/device.ts': ['./registers.ts', '../../driver/open.ts'],
      'transports/pci/driver.ts': ['./registers.ts'],
      'transports/pci/registers.ts': [],
      'virtqueue/split/device.ts': ['./layout.ts', './driver.ts'],
      'virtqueue/split/driver.ts': ['./layout.ts'],
      'virtqueue/split/layout.ts': [],
    });
    expect(checkSides(graph).map(({ file }) => file)).toEqual([
      'packages/virtio/src/transports/pci/device.ts',
      'packages/virtio/src/virtqueue/split/driver.ts',
    ]);
  });

  it('lets the loopback join them', () => {
    const graph = graphOf({
      'transports/loopback/device.ts': ['../../device/device.ts', '../../driver/open.ts'],
    });
    expect(checkSides(graph)).toEqual([]);
  });
});
