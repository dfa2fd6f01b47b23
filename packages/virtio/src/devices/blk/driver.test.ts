import { describe, expect, it } from 'vitest';
import { device } from '../../device/device.ts';
import { UsageError } from '../../errors.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { type BlkOptions, blkDevice, memoryStorage, sparseStorage } from './device.ts';
import { type BlkStatusError, type OpenBlkOptions, openBlk } from './driver.ts';
import { rangeRequests } from './driver-ranges.ts';
import { pattern, sameBytes, slowStorage } from './raw-disk.fixture.ts';
import { blk, virtio_blk_config } from './spec.ts';
import { requestType as T, virtio_blk_discard_write_zeroes } from './spec-requests.ts';
import { virtio_blk_zone_descriptor, virtio_blk_zone_report } from './spec-zones.ts';

async function opened(options: Partial<BlkOptions>, driver: OpenBlkOptions = {}) {
  const disk = blkDevice({ storage: memoryStorage(4096 * 512), ...options });
  const transport = new Loopback(disk);
  return { device: disk, transport, disk: await openBlk(transport, driver) };
}

/** A device that answers every request as the test says, and remembers their headers. */
async function scripted(
  answer: (type: number, answer: Uint8Array) => number,
  setup: {
    readonly offers?: readonly (typeof blk.ownFeatures)[number][];
    readonly zoneSectors?: number;
    readonly capacity?: bigint;
  } = {},
) {
  const requests: { type: number; sector: number; readable: number; writable: number }[] = [];
  const { offers = [], zoneSectors = 8, capacity = 64n } = setup;
  const zoned = { zone_sectors: zoneSectors, max_open_zones: 0, max_active_zones: 0, max_append_sectors: 8 };
  const made = device(blk, {
    offers,
    config: {
      capacity,
      zoned: { ...zoned, write_granularity: 512, model: 1, unused2: new Uint8Array(3) },
    },
    serve: {
      requestq({ readable, writable }) {
        const type = readable.u32();
        readable.u32();
        requests.push({ type, sector: readable.u64(), readable: readable.length, writable: writable.length });
        const bytes = new Uint8Array(writable.length);
        const status = answer(type, bytes.subarray(0, -1));
        if (status < 0) return;
        bytes[bytes.length - 1] = status;
        writable.write(bytes);
      },
    },
  });
  return { requests, open: () => openBlk(new Loopback(made)) };
}

describe('openBlk', () => {
  it('tells what the disk is', async () => {
    const { disk } = await opened({ id: 'serial-7', blockSize: 4096, readOnly: true });
    expect(disk).toMatchObject({ capacity: 4096, blockSize: 4096, readOnly: true, zones: undefined });
    expect(await disk.getId()).toBe('serial-7');
    await disk.close();
  });

  it('reads what it wrote, in requests that the disk can take', async () => {
    for (const limits of [{}, { sizeMax: 512, segMax: 3 }, { sizeMax: 700, segMax: 2 }, { segMax: 1 }]) {
      const { disk } = await opened(limits);
      const data = pattern(1500 * 512, 3);
      await disk.write(7, data);
      expect(sameBytes(await disk.read(7, 1500), data)).toBe(true);
      expect(sameBytes(await disk.read(0, 7), new Uint8Array(7 * 512))).toBe(true);
      await disk.close();
    }
  });

  it('moves more than its memory holds', async () => {
    const storage = memoryStorage(4 * 2 ** 20);
    const transport = new Loopback(blkDevice({ storage }), { memory: GuestMemory.ofSize(256 * 1024) });
    const disk = await openBlk(transport, { queueSize: 16 });
    const data = pattern(4 * 2 ** 20, 2);
    await disk.write(0, data);
    const before = transport.allocator.available;
    expect(sameBytes(await disk.read(0, 8192), data)).toBe(true);
    expect(transport.allocator.available).toBe(before);
  });

  it('uses as many queues as the disk has', async () => {
    const served = new Set<string>();
    const made = blkDevice({ storage: slowStorage(memoryStorage(2 ** 20), true), queues: 4 });
    const transport = new Loopback(made, {
      trace: (event) => void (event.kind === 'chain' && served.add(event.queue)),
    });
    const disk = await openBlk(transport, { queues: 9 });
    await Promise.all(Array.from({ length: 16 }, (_, i) => disk.read(i, 1)));
    expect([...served].sort()).toEqual(['requestq1', 'requestq2', 'requestq3', 'requestq4']);
    await disk.close();
    expect((await opened({})).disk.device.has('MQ')).toBe(false);
  });

  // @holds 5.2.6.1 driver: Device Types / Block Device / Device Operation
  it('submits nothing that would reach beyond the disk, or is no whole number of sectors', async () => {
    const { requests, open } = await scripted(() => 0, { offers: ['DISCARD', 'WRITE_ZEROES'] });
    const disk = await open();
    const wrong = [
      disk.read(64, 1),
      disk.read(-1, 1),
      disk.read(0.5, 1),
      disk.read(0, 2 ** 60),
      disk.write(63, new Uint8Array(1024)),
      disk.write(0, new Uint8Array(511)),
      disk.discard(60, 5),
      disk.writeZeroes(Number.NaN, 1),
    ];
    for (const attempt of wrong) await expect(attempt).rejects.toBeInstanceOf(UsageError);
    expect(requests).toEqual([]);
  });

  // @holds 5.2.6.1 driver: Device Types / Block Device / Device Operation
  it('sends FLUSH with sector 0 and no data, GET_ID with 20 bytes, RESET_ALL with sector 0', async () => {
    const { requests, open } = await scripted(() => 0, { offers: ['FLUSH', 'ZONED'] });
    const disk = await open();
    await disk.flush();
    await disk.getId();
    await disk.zones?.resetAll();
    await disk.zones?.finish(16);
    expect(requests).toEqual([
      { type: T.FLUSH, sector: 0, readable: 16, writable: 1 },
      { type: T.GET_ID, sector: 0, readable: 16, writable: 21 },
      { type: T.ZONE_RESET_ALL, sector: 0, readable: 16, writable: 1 },
      { type: T.ZONE_FINISH, sector: 16, readable: 16, writable: 1 },
    ]);
  });

  // @holds 5.2.5.1 driver: Device Types / Block Device / Device Initialization
  it('leaves DISCARD alone on a host-managed disk, and takes it otherwise', async () => {
    const offers = ['ZONED', 'DISCARD'] as const;
    const managed = await (await scripted(() => 0, { offers })).open();
    expect(managed.device.has('ZONED')).toBe(true);
    expect(managed.device.has('DISCARD')).toBe(false);
    const { disk } = await opened({ zoned: { model: 'host-aware', zoneSectors: 64 } });
    expect([disk.device.has('ZONED'), disk.device.has('DISCARD')]).toEqual([true, true]);
    const none = await opened({ zoned: { model: 'drive-managed', zoneSectors: 64 } });
    expect(none.disk.zones).toBeUndefined();
  });

  // @holds 5.2.5.1 driver: Device Types / Block Device / Device Initialization
  it('does not read writeback before FEATURES_OK', async () => {
    const transport = new Loopback(
      blkDevice({ storage: memoryStorage(512), zoned: { model: 'host-aware', zoneSectors: 1 } }),
    );
    const early: [number, number][] = [];
    const { readConfig } = transport;
    transport.readConfig = async (offset, length) => {
      if (((await transport.readStatus()) & 8) === 0) early.push([offset, length]);
      return readConfig.call(transport, offset, length);
    };
    await openBlk(transport);
    const { offset } = virtio_blk_config.field.writeback;
    expect(early.length).toBeGreaterThan(0);
    expect(early.filter(([from, length]) => from <= offset && offset < from + length)).toEqual([]);
  });

  // @holds 5.2.5.1 driver: Device Types / Block Device / Device Initialization
  it('assumes a writeback cache from FLUSH alone, none without, and asks where it can', async () => {
    const cases: [OpenBlkOptions, boolean][] = [
      [{ without: ['CONFIG_WCE'] }, true],
      [{ without: ['CONFIG_WCE', 'FLUSH'] }, false],
      [{ without: ['FLUSH'] }, false],
      [{}, true],
    ];
    for (const [options, writeback] of cases) {
      const { disk } = await opened({}, options);
      expect(disk.writeback).toBe(writeback);
      await disk.close();
    }
    const { disk, device: made } = await opened({});
    await disk.setWriteback(false);
    expect(disk.writeback).toBe(false);
    expect(made.config.writeback).toBe(0);
    await disk.setWriteback(true);
    expect(made.config.writeback).toBe(1);
  });

  it('keeps memory that a failed device may still write to, until it is reset', async () => {
    const slow = slowStorage(memoryStorage(4096 * 512));
    const { disk, transport } = await opened({ storage: slow });
    const level = transport.allocator.available;
    const lost = expect(disk.read(0, 8)).rejects.toThrow('the device broke');
    await Promise.resolve();
    await Promise.resolve();
    const held = transport.allocator.available;
    expect(held).toBeLessThan(level);
    disk.device.fail(new Error('the device broke'));
    await lost;
    expect(transport.allocator.available).toBe(held);
    await disk.close();
    expect(transport.allocator.available).toBeGreaterThan(level);
  });

  it('lets go of the device also when the last flush fails, and tells of it', async () => {
    const slow = slowStorage(memoryStorage(4096 * 512));
    const { disk, transport } = await opened({ storage: slow });
    const closed = expect(disk.close()).rejects.toMatchObject({ status: 'IOERR' });
    await new Promise((resolve) => setImmediate(resolve));
    await slow.step(new Error('bad'));
    await closed;
    expect(transport.core.status).toBe(0);
  });

  it('flushes after everything that was written before, and before close', async () => {
    const slow = slowStorage(memoryStorage(64 * 512));
    const { disk } = await opened({ storage: slow });
    const write = disk.write(0, new Uint8Array(512));
    const flush = disk.flush();
    await new Promise((resolve) => setImmediate(resolve));
    expect(slow.log).toEqual(['write 0 512']);
    await slow.step();
    await write;
    await slow.step();
    await flush;
    expect(slow.log).toEqual(['write 0 512', 'flush']);
    slow.release();
    await disk.close();
    expect(slow.log).toEqual(['write 0 512', 'flush', 'flush']);
  });

  it('tells by name how a request failed, and says so when it was not answered', async () => {
    const statuses = [1, 2, 5, 77, -1];
    const { open } = await scripted(() => statuses.shift() ?? 0);
    const disk = await open();
    for (const status of [
      'IOERR',
      'UNSUPP',
      'ZONE_OPEN_RESOURCE',
      'status 77',
    ] satisfies BlkStatusError['status'][]) {
      await expect(disk.read(0, 1)).rejects.toMatchObject({ name: 'HostError', code: 'IO_ERROR', status });
    }
    await expect(disk.read(0, 1)).rejects.toMatchObject({ name: 'PeerError', code: 'BAD_RESPONSE' });
    expect(await disk.read(0, 1)).toEqual(new Uint8Array(512));
  });

  it('refuses what was not negotiated, and writing to what is read-only', async () => {
    const { disk } = await opened({ readOnly: true }, { without: ['CONFIG_WCE'] });
    const refused = [
      disk.discard(0, 1),
      disk.writeZeroes(0, 1),
      disk.secureErase(0, 1),
      disk.lifetime(),
      disk.setWriteback(true),
    ];
    for (const attempt of refused) await expect(attempt).rejects.toMatchObject({ code: 'NOT_NEGOTIATED' });
    await expect(disk.write(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'BAD_STATE' });
  });

  it('discards, zeroes, erases, and asks for the wear', async () => {
    const limits = { maxSectors: 10, maxSegments: 2 };
    const storage = memoryStorage(pattern(256 * 512));
    const { disk } = await opened({
      storage,
      discard: limits,
      writeZeroes: limits,
      secureErase: limits,
      lifetime: () => ({ preEolInfo: 1, estimateA: 2, estimateB: 3 }),
    });
    await disk.writeZeroes(3, 50);
    await disk.writeZeroes(60, 5, { unmap: true });
    await disk.discard(100, 41);
    await disk.secureErase(200, 21);
    const expected = pattern(256 * 512);
    for (const [from, count] of [
      [3, 50],
      [60, 5],
      [100, 41],
      [200, 21],
    ] as const) {
      expected.fill(0, from * 512, (from + count) * 512);
    }
    expect(sameBytes(storage.bytes, expected)).toBe(true);
    expect(await disk.lifetime()).toEqual({ preEolInfo: 1, estimateA: 2, estimateB: 3 });
  });

  // @holds 5.2.6.1 driver: Device Types / Block Device / Device Operation
  it('hears of a new size', async () => {
    const storage = memoryStorage(64 * 512);
    const sizes: number[] = [];
    const { disk, device: made } = await opened(
      { storage },
      { onCapacityChange: (size) => void sizes.push(size) },
    );
    storage.resize(100 * 512);
    made.updateCapacity();
    made.updateCapacity();
    await new Promise((resolve) => setImmediate(resolve));
    expect(sizes).toEqual([100]);
    expect(disk.capacity).toBe(100);
    await disk.write(99, new Uint8Array(512).fill(1));
  });

  it('lets go of a disk whose zones make no sense', async () => {
    const { open } = await scripted(() => 0, { offers: ['ZONED'], zoneSectors: 0 });
    await expect(open()).rejects.toMatchObject({ code: 'LAYOUT_INVALID' });
  });
});

describe('ranges cut into requests', () => {
  const cut = (sector: number, count: number, command: Parameters<typeof rangeRequests>[2], dataMax = 4096) =>
    Array.from(rangeRequests(sector, count, command, dataMax), (data) =>
      Array.from({ length: data.length / 16 }, (_, i) => {
        const segment = virtio_blk_discard_write_zeroes.read(new DataView(data.slice().buffer), i * 16);
        return [Number(segment.sector), segment.num_sectors];
      }),
    );

  // @holds 5.2.6.1 driver: Device Types / Block Device / Device Operation
  it('keep both limits', () => {
    expect(cut(5, 23, { maxSectors: 10, maxSegments: 2 })).toEqual([
      [
        [5, 10],
        [15, 10],
      ],
      [[25, 3]],
    ]);
    expect(cut(0, 40, { maxSectors: 10, maxSegments: 9 }, 32)).toHaveLength(2);
    expect(cut(5, 0, { maxSectors: 10, maxSegments: 2 })).toEqual([]);
  });

  it('are cut at multiples of the alignment where that is possible', () => {
    const command = { maxSectors: 10, maxSegments: 8, alignment: 8 };
    expect(cut(5, 23, command)).toEqual([
      [
        [5, 3],
        [8, 8],
        [16, 8],
        [24, 4],
      ],
    ]);
    expect(cut(5, 23, { ...command, alignment: 64 })).toEqual([
      [
        [5, 10],
        [15, 10],
        [25, 3],
      ],
    ]);
  });

  it('take a limit of 0 for none, and one segment then', () => {
    expect(cut(0, 2 ** 33, { maxSectors: 0, maxSegments: 0 })).toEqual([
      [[0, 2 ** 32 - 1]],
      [[2 ** 32 - 1, 2 ** 32 - 1]],
      [[2 ** 33 - 2, 2]],
    ]);
  });
});

describe('a zoned disk', () => {
  const zoned = { model: 'host-managed', zoneSectors: 64, conventionalZones: 1, maxOpenZones: 2 } as const;

  it('is managed through its driver', async () => {
    const storage = sparseStorage(300 * 512);
    const { disk } = await opened({ storage, zoned, secureErase: {} });
    const { zones } = disk;
    if (zones === undefined) throw new Error('the disk has no zones');
    expect(zones.characteristics).toMatchObject({ model: 'host-managed', zoneSectors: 64, maxOpenZones: 2 });
    const data = pattern(64 * 512, 6);
    await disk.write(64, data.subarray(0, 40 * 512));
    await disk.write(104, data.subarray(40 * 512));
    expect(sameBytes(await disk.read(64, 64), data)).toBe(true);
    expect(await zones.append(128, data.subarray(0, 1024))).toBe(128);
    expect(await zones.append(128, data.subarray(0, 512))).toBe(130);
    await zones.open(192);
    await disk.write(10, data.subarray(0, 512));
    expect(await zones.report()).toEqual([
      { start: 0, capacity: 64, writePointer: undefined, type: 'CONV', state: 'NOT_WP' },
      { start: 64, capacity: 64, writePointer: undefined, type: 'SWR', state: 'FULL' },
      { start: 128, capacity: 64, writePointer: 131, type: 'SWR', state: 'IOPEN' },
      { start: 192, capacity: 64, writePointer: 192, type: 'SWR', state: 'EOPEN' },
      { start: 256, capacity: 44, writePointer: 256, type: 'SWR', state: 'EMPTY' },
    ]);
    expect((await zones.report(100, 2)).map((zone) => zone.start)).toEqual([64, 128]);
    await zones.close(192);
    await zones.finish(128);
    await zones.reset(64);
    expect((await zones.report()).map((zone) => zone.state)).toEqual([
      'NOT_WP',
      'EMPTY',
      'FULL',
      'EMPTY',
      'EMPTY',
    ]);
    // What the zone held is not to be seen any more, nor what lies behind a write pointer.
    expect(sameBytes(await disk.read(64, 64), new Uint8Array(64 * 512))).toBe(true);
    expect((await disk.read(130, 10)).subarray(0, 512)).toEqual(data.subarray(0, 512));
    expect((await disk.read(130, 10)).subarray(512)).toEqual(new Uint8Array(9 * 512));
    await zones.resetAll();
    expect((await zones.report(128, 1))[0]?.state).toBe('EMPTY');
    await disk.close();
  });

  // @holds 5.2.6.1 driver: Device Types / Block Device / Device Operation
  it('is written in its granularity, in order, and appended to within its limits', async () => {
    const storage = slowStorage(sparseStorage(4096 * 512), true);
    const { disk } = await opened({
      storage,
      zoned: { ...zoned, zoneSectors: 2048, writeGranularity: 4096, maxAppendSectors: 16 },
    });
    const { zones } = disk;
    await expect(disk.write(2048, new Uint8Array(512))).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(disk.write(2049, new Uint8Array(4096))).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    for (const length of [0, 512, 4096 + 512, 17 * 4096]) {
      await expect(zones?.append(2048, new Uint8Array(length))).rejects.toMatchObject({
        code: 'BAD_ARGUMENT',
      });
    }
    await expect(zones?.append(2056, new Uint8Array(4096))).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(zones?.open(5000)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    const data = pattern(2048 * 512, 8);
    await disk.write(2048, data);
    expect(sameBytes(await disk.read(2048, 2048), data)).toBe(true);
  });

  it('gives each error of its own by name', async () => {
    const { disk, device: made } = await opened({
      storage: sparseStorage(320 * 512),
      zoned,
      secureErase: {},
    });
    const { zones } = disk;
    const sector = new Uint8Array(512);
    const failing = (work: Promise<unknown> | undefined, status: string) =>
      expect(work).rejects.toMatchObject({ code: 'IO_ERROR', status });
    await failing(disk.write(70, sector), 'ZONE_UNALIGNED_WP');
    await failing(zones?.open(0), 'ZONE_INVALID_CMD');
    await failing(zones?.append(0, sector), 'ZONE_INVALID_CMD');
    await zones?.open(64);
    await zones?.open(128);
    await failing(zones?.open(192), 'ZONE_OPEN_RESOURCE');
    await failing(disk.write(192, sector), 'ZONE_OPEN_RESOURCE');
    made.failZone(1, 'RDONLY');
    await failing(disk.write(64, sector), 'ZONE_INVALID_CMD');
    expect(await disk.read(64, 1)).toEqual(sector);
    made.failZone(1, 'OFFLINE');
    await failing(disk.read(64, 1), 'ZONE_INVALID_CMD');
    expect((await zones?.report(64, 1))?.[0]).toMatchObject({ state: 'OFFLINE', writePointer: undefined });
  });

  it('that is host-aware is written anywhere; what lies between reads as 0', async () => {
    const storage = memoryStorage(new Uint8Array(256 * 512).fill(0xdd));
    const { disk } = await opened({ storage, zoned: { model: 'host-aware', zoneSectors: 64 } });
    const data = pattern(2 * 512, 4);
    expect(sameBytes(await disk.read(0, 256), new Uint8Array(256 * 512))).toBe(true);
    await disk.write(10, data);
    await disk.write(62, pattern(4 * 512, 5));
    expect((await disk.read(0, 12)).subarray(10 * 512)).toEqual(data);
    expect((await disk.read(0, 10)).every((byte) => byte === 0)).toBe(true);
    expect((await disk.read(12, 50)).every((byte) => byte === 0)).toBe(true);
    await disk.writeZeroes(100, 10);
    await disk.discard(0, 64);
    const states = (await disk.zones?.report())?.map(({ state, writePointer }) => [state, writePointer]);
    expect(states).toEqual([
      ['FULL', undefined],
      ['IOPEN', 110],
      ['EMPTY', 128],
      ['EMPTY', 192],
    ]);
  });

  it('erases whole zones, which are empty then', async () => {
    const storage = memoryStorage(256 * 512);
    const { disk } = await opened({ storage, zoned: { model: 'host-managed', zoneSectors: 64 } });
    await disk.write(64, new Uint8Array(512).fill(1));
    await expect(disk.secureErase(64, 10)).rejects.toMatchObject({ status: 'ZONE_INVALID_CMD' });
    await expect(disk.secureErase(70, 64)).rejects.toMatchObject({ status: 'ZONE_INVALID_CMD' });
    expect(storage.bytes[64 * 512]).toBe(1);
    await disk.secureErase(64, 128);
    expect(storage.bytes.every((byte) => byte === 0)).toBe(true);
    expect((await disk.zones?.report())?.every((zone) => zone.state === 'EMPTY')).toBe(true);
  });

  it('cannot append when it says so', async () => {
    const { requests, open } = await scripted(() => 2, { offers: ['ZONED'] });
    await expect((await open()).zones?.append(0, new Uint8Array(512))).rejects.toMatchObject({
      status: 'UNSUPP',
    });
    expect(requests[0]).toMatchObject({ type: T.ZONE_APPEND, readable: 528, writable: 9 });
    const { disk } = await opened({ zoned: { ...zoned, maxAppendSectors: 0 } });
    await expect(disk.zones?.append(64, new Uint8Array(512))).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  it.each<[string, (view: DataView) => void]>([
    ['is empty', () => {}],
    ['has more zones than fit', (view) => virtio_blk_zone_report.write(view, 0, { nr_zones: 2n ** 63n })],
    ['has a zone of no known type', (view) => virtio_blk_zone_report.write(view, 0, { nr_zones: 1n })],
    [
      'goes backwards',
      (view) => {
        virtio_blk_zone_report.write(view, 0, { nr_zones: 1n });
        view.setUint8(64 + 24, 2);
        view.setUint8(64 + 25, 1);
      },
    ],
  ])('whose report %s is not believed', async (_what, fill) => {
    const { open } = await scripted(
      (_type, answer) => {
        fill(new DataView(answer.buffer, answer.byteOffset, answer.length));
        return 0;
      },
      { offers: ['ZONED'] },
    );
    await expect((await open()).zones?.report(8)).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
  });

  it.each([
    ['claims more zones than can be', 2n ** 63n, 0],
    ['reports zones where none can begin', 2n ** 20n, 1],
  ])('that %s has its report cut short', async (_what, capacity, ahead) => {
    const { open, requests } = await scripted(
      (_type, answer) => {
        const view = new DataView(answer.buffer, answer.byteOffset, answer.length);
        virtio_blk_zone_report.write(view, 0, { nr_zones: 2n });
        const from = (requests.at(-1)?.sector ?? 0) + ahead;
        for (const [index, start] of [from, from + 8].entries()) {
          const zone = { z_cap: 8n, z_start: BigInt(start), z_wp: 0n, z_type: 1, z_state: 0 };
          const { size } = virtio_blk_zone_report;
          virtio_blk_zone_descriptor.write(view, size + index * virtio_blk_zone_descriptor.size, zone);
        }
        return requests.length > 1000 ? 1 : 0;
      },
      { offers: ['ZONED'], capacity },
    );
    await expect((await open()).zones?.report()).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
    expect(requests.length).toBeLessThan(10);
  });
});
