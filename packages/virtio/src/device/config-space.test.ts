import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deviceType } from '../spec/device-type.ts';
import { le16, le32, le64, struct } from '../spec/layout.ts';
import { ConfigSpace, restoreConfig, saveConfig } from './config-space.ts';

const type = deviceType({
  id: 2,
  name: 'sample',
  features: {},
  queues: {},
  config: struct('sample_config', { capacity: le64, mode: le16, limit: le32 }),
  driverWritable: ['mode'],
});

describe('ConfigSpace', () => {
  it('moves the generation on with each change of the device, and with none of the driver', () => {
    const space = new ConfigSpace(type, { capacity: 1n });
    const before = space.generation;
    space.write(8, 2, 7);
    expect(space.generation).toBe(before);
    space.update({ capacity: 2n, limit: 3 });
    expect(space.generation).not.toBe(before);
    expect(space.values).toEqual({ capacity: 2n, mode: 7, limit: 3 });
  });

  // @holds 2.5.2 device: Basic Facilities of a Virtio Device / Device Configuration Space
  it('lets every field be read in any width, whatever was negotiated', () => {
    const space = new ConfigSpace(type, { capacity: 0x1122334455667788n, mode: 0x99aa, limit: 0xbbccddee });
    expect(space.read(0, 4)).toBe(0x55667788);
    expect(space.read(4, 4)).toBe(0x11223344);
    expect(space.read(8, 2)).toBe(0x99aa);
    expect(space.read(10, 1)).toBe(0xee);
    expect(space.read(13, 4)).toBe(0xbb);
    expect(space.read(5000, 4)).toBe(0);
  });

  it('takes writes within one field of the driver’s, a part of it too, and no other', () => {
    const space = new ConfigSpace(type, {});
    expect(space.write(9, 1, 0x12)).toEqual({ field: 'mode', value: 0x1200 });
    fc.assert(
      fc.property(fc.nat(40), fc.constantFrom(1, 2, 4), fc.nat(0xffffffff), (offset, width, value) => {
        const before = space.values;
        const written = space.write(offset, width, value);
        const inside = offset >= 8 && offset + width <= 10;
        expect(written !== undefined).toBe(inside);
        if (!inside) expect(space.values).toEqual(before);
      }),
    );
  });

  it('comes back from a saved state as another generation, so that a reader in between looks again', () => {
    const space = new ConfigSpace(type, { capacity: 5n });
    const state = JSON.parse(JSON.stringify(saveConfig(space)));
    const other = new ConfigSpace(type, {});
    restoreConfig(other, state);
    expect(other.values).toEqual(space.values);
    expect(other.generation).not.toBe(space.generation);
  });
});
