import { describe, expect, it } from 'vitest';
import { restoreDevice } from '../../device/saving.ts';
import { open } from '../../driver/open.ts';
import { PeerError } from '../../errors.ts';
import type { OwnFeatureNameOf } from '../../spec/device-type.ts';
import { status } from '../../spec/status.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { type BlkOptions, blkDevice, memoryStorage, overlayStorage, type ZonedOptions } from './device.ts';
import { rawDisk, segments, slowStorage } from './raw-disk.fixture.ts';
import { blk, virtio_blk_config } from './spec.ts';
import { requestType as T, virtio_blk_req } from './spec-requests.ts';
import { zoneModel } from './spec-zones.ts';

const storage = () => memoryStorage(64 * 512);
const offersOf = (options: Partial<BlkOptions>) =>
  blkDevice({ storage: storage(), ...options }).behaviour.offers;
type Names = readonly OwnFeatureNameOf<typeof blk>[];

/** Negotiates no more than the features that are named. */
async function negotiated(options: Partial<BlkOptions>, features: Names) {
  const device = blkDevice({ storage: storage(), ...options });
  const transport = new Loopback(device);
  const opened = await open(transport, blk, { features });
  return { device, transport, opened };
}

const hostManaged: ZonedOptions = { model: 'host-managed', zoneSectors: 16 };

describe('what a disk offers', () => {
  it('has the layout of the specification', () => {
    const { field } = virtio_blk_config;
    expect(virtio_blk_config.size).toBe(96);
    expect([field.blk_size.offset, field.topology.offset, field.writeback.offset]).toEqual([20, 24, 32]);
    expect([field.max_discard_sectors.offset, field.max_secure_erase_sectors.offset]).toEqual([36, 60]);
    expect(field.zoned.offset).toBe(72);
  });

  // @holds 5.2.5.2 device: Device Types / Block Device / Device Initialization
  it('always FLUSH with CONFIG_WCE, unless it is told to be unsafe', () => {
    for (const cache of ['writeback', 'writethrough'] as const) {
      expect(offersOf({ cache })).toEqual(expect.arrayContaining(['FLUSH', 'CONFIG_WCE']));
    }
    expect(offersOf({ cache: 'unsafe' })).toEqual(expect.not.arrayContaining(['FLUSH']));
    expect(offersOf({ cache: 'unsafe' })).not.toContain('CONFIG_WCE');
  });

  // @holds 5.2.5.2 device: Device Types / Block Device / Device Initialization
  it('nothing that its storage and options do not support', () => {
    expect(offersOf({})).toEqual([
      'SEG_MAX',
      'BLK_SIZE',
      'FLUSH',
      'CONFIG_WCE',
      'DISCARD',
      'WRITE_ZEROES',
      'SECURE_ERASE',
    ]);
    const { read, write, flush, size } = storage();
    const poor = { size, readOnly: false, immediate: true, read, write, flush };
    for (const name of ['DISCARD', 'SECURE_ERASE']) expect(offersOf({ storage: poor })).not.toContain(name);
    const none = { discard: false, writeZeroes: false, secureErase: false } as const;
    for (const name of ['DISCARD', 'WRITE_ZEROES', 'SECURE_ERASE']) {
      expect(offersOf(none)).not.toContain(name);
      expect(offersOf({ readOnly: true })).not.toContain(name);
    }
  });

  it('each feature that an option brings, with its fields', () => {
    const device = blkDevice({
      storage: storage(),
      sizeMax: 65536,
      segMax: 7,
      queues: 3,
      blockSize: 4096,
      geometry: { cylinders: 2, heads: 3, sectors: 4 },
      topology: { physicalBlockExp: 3, alignmentOffset: 1, minIoSize: 8, optIoSize: 64 },
      lifetime: () => ({ preEolInfo: 1, estimateA: 1, estimateB: 1 }),
      discard: { maxSectors: 100, maxSegments: 5, alignment: 16 },
    });
    expect(device.behaviour.offers).toEqual(
      expect.arrayContaining(['SIZE_MAX', 'SEG_MAX', 'GEOMETRY', 'TOPOLOGY', 'MQ', 'LIFETIME', 'DISCARD']),
    );
    expect(device.config).toMatchObject({
      capacity: 64n,
      size_max: 65536,
      seg_max: 7,
      num_queues: 3,
      blk_size: 4096,
      geometry: { cylinders: 2, heads: 3, sectors: 4 },
      topology: { physical_block_exp: 3, alignment_offset: 1, min_io_size: 8, opt_io_size: 64 },
      max_discard_sectors: 100,
      max_discard_seg: 5,
      discard_sector_alignment: 16,
    });
  });

  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it('write_zeroes_may_unmap where a write zeroes command can give room back', () => {
    expect(blkDevice({ storage: storage() }).config.write_zeroes_may_unmap).toBe(0);
    expect(blkDevice({ storage: overlayStorage(storage()) }).config.write_zeroes_may_unmap).toBe(1);
  });

  // @holds 5.2.5.2 device: Device Types / Block Device / Device Initialization
  it('padding of zeroes', () => {
    const { unused0, unused1, zoned } = blkDevice({ storage: storage(), zoned: hostManaged }).config;
    expect([unused0, ...unused1, ...zoned.unused2]).toEqual([0, 0, 0, 0, 0, 0, 0]);
  });

  // @holds 5.2.5.2 device: Device Types / Block Device / Device Initialization
  it('the characteristics of its zones', () => {
    const zoned = { ...hostManaged, maxOpenZones: 2, maxActiveZones: 3, writeGranularity: 1024 };
    const device = blkDevice({ storage: storage(), zoned, sizeMax: 1024, segMax: 2, discard: {} });
    expect(device.config.zoned).toMatchObject({
      zone_sectors: 16,
      max_open_zones: 2,
      max_active_zones: 3,
      // No more than size_max times seg_max bytes.
      max_append_sectors: 4,
      write_granularity: 1024,
      model: zoneModel.HM,
    });
    expect(device.behaviour.offers).toEqual(expect.arrayContaining(['ZONED', 'SIZE_MAX', 'SEG_MAX']));
    expect(device.behaviour.offers).not.toContain('DISCARD');
    expect(device.config.secure_erase_sector_alignment % 16).toBe(0);
    expect(device.config.max_secure_erase_sectors % 16).toBe(0);
    const aware = blkDevice({ storage: storage(), zoned: { model: 'host-aware', zoneSectors: 16 } });
    expect(aware.config.zoned).toMatchObject({ model: zoneModel.HA, zone_sectors: 16 });
    const driveManaged = blkDevice({
      storage: storage(),
      zoned: { model: 'drive-managed', zoneSectors: 16 },
    });
    expect(driveManaged.config.zoned).toMatchObject({ model: zoneModel.NONE, zone_sectors: 0 });
    expect(driveManaged.behaviour.offers).toContain('ZONED');
  });

  it.each<[string, Partial<BlkOptions>]>([
    ['a block that is no power of two', { blockSize: 1536 }],
    ['a block that does not divide the disk', { blockSize: 65536 }],
    ['no queue', { queues: 0 }],
    ['a queue too many', { queues: 65536 }],
    ['no segment', { segMax: 0 }],
    ['an id that is too long', { id: 'x'.repeat(21) }],
    ['an id that is not ASCII', { id: 'ü' }],
    ['no range', { discard: { maxSegments: 0 } }],
    [
      'writing over a storage that is read-only',
      { storage: memoryStorage(512, { readOnly: true }), readOnly: false },
    ],
    ['zones of no sector', { zoned: { ...hostManaged, zoneSectors: 0 } }],
    ['zones larger inside than outside', { zoned: { ...hostManaged, zoneCapacity: 17 } }],
    ['a granularity that does not fit', { zoned: { ...hostManaged, writeGranularity: 1536 } }],
    ['appends that no request holds', { zoned: { ...hostManaged, maxAppendSectors: 2 ** 31 } }],
    ['limits of a host-aware disk', { zoned: { model: 'host-aware', zoneSectors: 16, maxOpenZones: 1 } }],
  ])('refuses %s', (_what, options) => {
    expect(() => blkDevice({ storage: storage(), ...options })).toThrow(
      expect.objectContaining({ code: 'BAD_ARGUMENT' }),
    );
  });
});

describe('negotiation', () => {
  // @holds 5.2.5.2 device: Device Types / Block Device / Device Initialization
  it('a host-managed disk does not accept a driver without ZONED; a host-aware one hides its zones', async () => {
    const refused = negotiated({ zoned: hostManaged }, []);
    await expect(refused).rejects.toMatchObject({ code: 'FEATURES_NOT_ACCEPTED' });
    const zoned = { model: 'host-aware', zoneSectors: 16 } as const;
    const aware = await negotiated({ zoned }, []);
    expect(aware.device.config.zoned).toMatchObject({ zone_sectors: 0, write_granularity: 0, model: 0 });
    await aware.transport.writeStatus(0);
    expect(aware.device.config.zoned).toMatchObject({ zone_sectors: 16, model: zoneModel.HA });
  });

  // @holds 5.2.5.2 device: Device Types / Block Device / Device Initialization
  it('writeback starts as 0 for a driver with CONFIG_WCE and no FLUSH, and as the disk has it after a reset', async () => {
    const { device, transport } = await negotiated({}, ['CONFIG_WCE']);
    expect(device.config.writeback).toBe(0);
    await transport.writeStatus(0);
    expect(device.config.writeback).toBe(1);
    expect((await negotiated({}, ['CONFIG_WCE', 'FLUSH'])).device.config.writeback).toBe(1);
    const through = await negotiated({ cache: 'writethrough' }, ['CONFIG_WCE', 'FLUSH']);
    expect(through.device.config.writeback).toBe(0);
  });
});

describe('caching', () => {
  const written = async (
    options: Partial<BlkOptions>,
    without: Names,
    before: (disk: Awaited<ReturnType<typeof rawDisk>>) => Promise<void> = async () => {},
  ): Promise<string[]> => {
    const slow = slowStorage(storage(), true);
    const disk = await rawDisk({ storage: slow, ...options }, { without });
    await before(disk);
    await disk.request({ type: T.OUT, data: new Uint8Array(512) });
    await disk.request({ type: T.WRITE_ZEROES, data: segments([1, 1]) });
    return slow.log;
  };
  const volatile = ['write 0 512', 'zero 512 512'];
  const stable = ['write 0 512', 'flush', 'zero 512 512', 'flush'];
  const setWriteback = (value: number) => async (disk: Awaited<ReturnType<typeof rawDisk>>) =>
    disk.transport.writeConfig(virtio_blk_config.field.writeback.offset, Uint8Array.of(value));

  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it('makes writes stable before they complete for a driver that was not told to flush', async () => {
    expect(await written({}, ['FLUSH', 'CONFIG_WCE'])).toEqual(stable);
    expect(await written({}, ['FLUSH'])).toEqual(stable);
  });

  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it('follows writeback where that was negotiated', async () => {
    expect(await written({}, [])).toEqual(volatile);
    expect(await written({}, ['CONFIG_WCE'])).toEqual(volatile);
    expect(await written({ cache: 'writethrough' }, [])).toEqual(stable);
    expect(await written({ cache: 'writethrough' }, [], setWriteback(1))).toEqual(volatile);
    expect(await written({}, [], setWriteback(0))).toEqual(stable);
    expect(await written({}, ['CONFIG_WCE'], setWriteback(0))).toEqual(volatile);
  });

  it('never flushes what is unsafe', async () => {
    expect(await written({ cache: 'unsafe' }, [])).toEqual(volatile);
  });

  it('ends a write with IOERR when it could not be made stable', async () => {
    const slow = slowStorage(storage());
    const { request } = await rawDisk({ storage: slow, cache: 'writethrough' });
    const write = request({ type: T.OUT, data: new Uint8Array(512) });
    await slow.step();
    expect(slow.waiting).toEqual(['flush']);
    await slow.step(new Error('the medium is bad'));
    expect((await write).status).toBe('IOERR');
  });
});

describe('a change of size', () => {
  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it('reaches the driver as a configuration change, and its requests from then on', async () => {
    const memory = storage();
    const { device, transport } = await rawDisk({ storage: memory });
    let changes = 0;
    transport.listen({ usedBuffer() {}, configChange: () => changes++ });
    memory.resize(128 * 512);
    device.updateCapacity();
    await Promise.resolve();
    expect(changes).toBe(1);
    expect(device.config.capacity).toBe(128n);
    const raw = await rawDisk({ storage: memory });
    expect((await raw.request({ type: T.IN, sector: 127, answer: 512 })).status).toBe('OK');
    memory.resize(64 * 512);
    raw.device.updateCapacity();
    expect((await raw.request({ type: T.IN, sector: 127, answer: 512 })).status).toBe('IOERR');
  });

  it('is not for disks with zones', () => {
    const device = blkDevice({ storage: storage(), zoned: hostManaged });
    expect(() => device.updateCapacity()).toThrow(expect.objectContaining({ code: 'BAD_STATE' }));
  });
});

describe('a saved disk', () => {
  it('goes on with its cache mode, its zones and the requests that were under way', async () => {
    const memory = memoryStorage(64 * 512);
    const slow = slowStorage(memory);
    const options = { zoned: hostManaged, id: 'saved' };
    const first = await rawDisk({ storage: slow, ...options });
    await first.transport.writeConfig(virtio_blk_config.field.writeback.offset, Uint8Array.of(0));
    const data = new Uint8Array(1024).fill(3);
    void first.request({ type: T.OUT, sector: 16, data }).catch(() => {});
    await slow.step();
    expect(slow.waiting).toEqual(['flush']);
    // The write is done, not yet stable, and not completed: it is redone.
    const state = JSON.parse(JSON.stringify(first.transport.save()));
    const device = blkDevice({ storage: memory, ...options });
    const second = new Loopback(device, { memory: first.transport.memory });
    expect(device.zonesState()?.states.slice(0, 4)).toEqual([1, 1, 1, 1]);
    restoreDevice(second.core, state);
    second.core.resume();
    await new Promise((resolve) => setImmediate(resolve));
    expect(device.config.writeback).toBe(0);
    expect(device.zonesState()).toEqual({ states: [1, 2, 1, 1], writePointers: [0, 18, 32, 48] });
    expect(memory.bytes.subarray(16 * 512, 18 * 512)).toEqual(data);
  });

  it('shows the size that its storage has now', async () => {
    const memory = storage();
    const first = await rawDisk({ storage: memory });
    const state = first.transport.save();
    memory.resize(1024 * 512);
    const device = blkDevice({ storage: memory });
    restoreDevice(new Loopback(device, { memory: first.transport.memory }).core, state);
    expect(device.config.capacity).toBe(1024n);
  });

  it('with zones is not restored from a state without', async () => {
    const device = blkDevice({ storage: storage(), zoned: hostManaged });
    const transport = new Loopback(device);
    await open(transport, blk, { features: ['ZONED'] });
    const state = { ...transport.save(), device: null };
    expect(() => restoreDevice(transport.core, state)).toThrow(
      expect.objectContaining({ code: 'BAD_STATE' }),
    );
  });
});

describe('a reset in the middle of requests', () => {
  it('lets what was begun run out before anything new, and completes nothing of before', async () => {
    const memory = storage();
    const slow = slowStorage(memory);
    const disk = await rawDisk({ storage: slow });
    let completed = false;
    void disk
      .request({ type: T.OUT, sector: 1, data: new Uint8Array(512).fill(1) })
      .then(() => (completed = true));
    disk.transport.core.reset();
    await disk.reopen();
    const next = disk.request({ type: T.OUT, sector: 1, data: new Uint8Array(512).fill(2) });
    await new Promise((resolve) => setImmediate(resolve));
    expect(slow.log).toEqual(['write 512 512']);
    await slow.step();
    await slow.step();
    expect((await next).status).toBe('OK');
    expect(memory.bytes.subarray(512, 1024)).toEqual(new Uint8Array(512).fill(2));
    expect(disk.errors.filter((error) => !(error instanceof PeerError))).toEqual([]);
    expect((await disk.transport.readStatus()) & status.DEVICE_NEEDS_RESET).toBe(0);
    expect(completed).toBe(false);
  });

  // @holds 2.6.1.1.1 device: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Reset
  it('never lets a write of before a queue reset land on one of after it', async () => {
    const memory = memoryStorage(64 * 512);
    const slow = slowStorage(memory);
    const device = blkDevice({ storage: slow });
    const opened = await open(new Loopback(device), blk, { features: ['FLUSH'] });
    const write = (value: number): Promise<Uint8Array> => {
      const request = new Uint8Array(16 + 512).fill(value, 16);
      request.set(virtio_blk_req.encode({ type: T.OUT, sector: 1n }));
      return opened.queue('requestq').request(request, 1);
    };
    const lost = expect(write(1)).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    expect(slow.waiting).toEqual(['write 512 512']);
    await opened.resetQueue('requestq');
    await lost;
    await opened.enableQueue('requestq');
    const kept = write(2);
    expect(slow.waiting).toEqual(['write 512 512']);
    await slow.step();
    await slow.step();
    expect(await kept).toEqual(Uint8Array.of(0));
    expect(memory.bytes.subarray(512, 1024)).toEqual(new Uint8Array(512).fill(2));
    await opened.close();
  });
});

describe('a driver that asks for too much', () => {
  it('costs no more memory than the pieces that are under way', async () => {
    const slow = slowStorage(memoryStorage(8 * 2 ** 20));
    const { transport, submit } = await rawDisk({ storage: slow });
    const header = transport.allocator.allocate(16);
    const buffer = transport.allocator.allocate(2 ** 20);
    const end = transport.allocator.allocate(1);
    transport.memory.write(header, new Uint8Array(16));
    // Eight times the same megabyte: a driver may say so.
    const data = Array.from({ length: 8 }, () => ({ address: buffer, length: 2 ** 20 }));
    const done = submit([{ address: header, length: 16 }], [...data, { address: end, length: 1 }]);
    expect(slow.waiting).toEqual(['read 0 262144']);
    slow.release();
    expect(await done).toBe(8 * 2 ** 20 + 1);
    expect(new Set(slow.log.map((line) => line.split(' ')[2]))).toEqual(new Set(['262144']));
  });
});
