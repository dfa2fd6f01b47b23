import { describe, expect, it } from 'vitest';
import { status } from '../../spec/status.ts';
import { fine, Guest, place, rejected } from './ccw.fixture.ts';
import type { CcwDeviceOptions } from './channel-subsystem.ts';
import { legacyCcwDevice } from './legacy.ts';
import { vq_info_block_legacy } from './legacy-structures.ts';
import { virtio_feature_desc } from './structures.ts';

const { ACKNOWLEDGE, DRIVER, DRIVER_OK } = status;

const transitional = (options: CcwDeviceOptions = {}): Guest =>
  new Guest({ legacy: legacyCcwDevice(), ...options }, { serve: { first: () => {} } });

const setQueue = (guest: Guest, block: Parameters<typeof vq_info_block_legacy.encode>[0]) =>
  guest.command('SET_VQ', vq_info_block_legacy.encode({ align: 4096, size: 64, ...block }));

describe('a transitional control unit', () => {
  // @holds 4.3.2.1.1 device: Virtio Transport Options / Virtio over channel I/O / Device Initialization / Setting the Virtio Revision
  it('knows revision 0, and takes a driver that sets none for one of it', () => {
    const told = transitional().enable();
    expect(told.select(0)).toMatchObject(fine);
    expect(told.unit.revision).toBe(0);
    const untold = transitional().enable();
    expect(untold.command('VDEV_RESET')).toMatchObject(fine);
    expect(untold.unit.revision).toBe(0);
    for (const guest of [told, untold]) {
      for (const revision of [0, 1, 2]) expect(guest.select(revision)).toMatchObject(rejected);
      expect(guest.command('READ_STATUS', 1)).toMatchObject(rejected);
      expect(guest.errors).toEqual([]);
    }
    expect(transitional().enable().select(2)).toMatchObject(fine);
  });

  it('is legacy to a driver at revision 0, over resets too', () => {
    const guest = transitional().enable();
    for (let round = 0; round < 2; round++) {
      guest.command('VDEV_RESET');
      guest.command('READ_FEAT', virtio_feature_desc.encode({ index: 1 }));
      expect(virtio_feature_desc.read(guest.view(place.data, 5)).features).toBe(0);
      guest.command('READ_CONF', 16);
      expect([...guest.data(8)]).toEqual([0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
      expect(guest.unit.core.legacy?.endian).toBe('big');
    }
  });

  it('serves a ring in one piece, big-endian, without FEATURES_OK', () => {
    const guest = transitional().negotiate(0);
    const start = 0x10000;
    expect(setQueue(guest, { queue: BigInt(start), index: 0 })).toMatchObject(fine);
    guest.setIndicators('SET_IND', 0x8000);
    expect(guest.setStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK)).toMatchObject(fine);
    // A descriptor of 64 device-writable bytes, made available; all of it big-endian.
    guest.memory.write(start, Uint8Array.of(0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 64, 0, 2, 0, 0));
    guest.memory.write(start + 16 * 64 + 2, Uint8Array.of(0, 1));
    expect(guest.kick(0)).toBeGreaterThan(0n);
    expect([...guest.memory.read(start + 4096, 4)]).toEqual([0, 0, 0, 1]);
    expect(guest.view(0x8000, 8).getBigUint64(0)).toBe(1n);
    expect(guest.errors).toEqual([]);
  });

  it('rejects queues that cannot be', () => {
    const guest = transitional().negotiate(0);
    const queue = 0x10000n;
    for (const wrong of [
      { index: 9 },
      { size: 0 },
      { size: 48 },
      { size: 128 },
      { align: 0 },
      { align: 2 },
      { align: 3000 },
      { queue: 0x10800n },
      { queue: 2n ** 60n },
    ]) {
      expect(setQueue(guest, { queue, ...wrong })).toMatchObject(rejected);
    }
    expect(guest.unit.core.queues.some(({ enabled }) => enabled)).toBe(false);
    expect(setQueue(guest, { queue, align: 256 })).toMatchObject(fine);
    expect(setQueue(guest, { queue: 0n })).toMatchObject(fine);
    expect(guest.unit.core.queues[0]?.enabled).toBe(false);
  });

  it('goes on from a saved state at revision 0', () => {
    const guest = transitional().negotiate(0);
    guest.setStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK);
    const after = transitional();
    after.css.restore(after.schid, JSON.parse(JSON.stringify(guest.css.save(guest.schid))));
    expect(after.unit.revision).toBe(0);
    expect(after.unit.core.legacy?.endian).toBe('big');
  });
});

describe('a legacy control unit', () => {
  it('knows no other revision', () => {
    const guest = transitional({ revision: 0 }).enable();
    expect(guest.select(1)).toMatchObject(rejected);
    expect(guest.select(0)).toMatchObject(fine);
  });
});
