import { describe, expect, it } from 'vitest';
import { blkDevice } from '../devices/blk/device.ts';
import { openBlk } from '../devices/blk/driver.ts';
import { memoryStorage } from '../devices/blk/memory-storage.ts';
import { joined } from '../spec/joined.ts';
import { room } from '../transports/pci/connect.ts';
import { pciMigration } from '../transports/pci/migration.ts';
import { openPci } from '../transports/pci/open-pci.ts';
import { VfioPciFunction } from './client-function.ts';
import { DirtyPages } from './dirty-pages.ts';
import {
  deviceFeature,
  errno,
  featureFlag,
  vfio_user_device_feature,
  vfio_user_device_feature_dma_logging_control,
  vfio_user_device_feature_dma_logging_range,
  vfio_user_device_feature_dma_logging_report,
} from './messages.ts';
import { Served } from './vfio-user.fixture.ts';

const { DMA_LOGGING_START, DMA_LOGGING_STOP, DMA_LOGGING_REPORT } = deviceFeature;
const { GET, SET, PROBE } = featureFlag;
const length = 2 ** 20;

/** Numbers of the pages that a bitmap has. */
const pagesOf = (bitmap: Uint8Array): number[] =>
  [...bitmap].flatMap((byte, i) =>
    [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => byte & (1 << bit)).map((bit) => 8 * i + bit),
  );

async function disk(byMessages: boolean, packed: boolean) {
  const reserved = packed ? (['VERSION_1', 'RING_PACKED'] as const) : (['VERSION_1'] as const);
  const of = blkDevice({ storage: memoryStorage(2 ** 20), reserved });
  const served = new Served(of, {}, () => ({ migration: pciMigration }));
  const shared = served.sharedMemory(length);
  const { descriptors } = served;
  const pciFunction = await VfioPciFunction.open(served.connect(), { descriptors, shared, byMessages });
  const blk = await openBlk(await openPci(pciFunction, { room }));
  return { served, shared, pciFunction, client: pciFunction.client, blk };
}

describe.each([
  { way: 'shared', byMessages: false },
  { way: 'that is reached by messages', byMessages: true },
])('the log of writes to memory $way', ({ byMessages }) => {
  it.each([{ packed: false }, { packed: true }])(
    'has the pages that a disk has read into, and those of rings: packed $packed',
    async ({ packed }) => {
      const { served, shared, pciFunction, client, blk } = await disk(byMessages, packed);
      const { start } = shared.memory.regions[0]!;
      const report = async (): Promise<number[]> => pagesOf(await client.dirtyPages(start, length));
      expect(await client.startDmaLogging([{ address: start, size: length }])).toBe(4096);
      const { descriptor, device, size } = served.server.pciFunction.core.queues[0]!;
      const ring = packed ? { at: descriptor, bytes: 16 * size } : { at: device, bytes: 6 + 8 * size };
      const first = Math.floor((ring.at - start) / 4096);
      const last = Math.floor((ring.at + ring.bytes - 1 - start) / 4096);
      const rings = Array.from({ length: last - first + 1 }, (_, i) => first + i);
      expect(await report()).toEqual(expect.arrayContaining(rings));
      const quiet = await report();
      expect(quiet).toEqual(expect.arrayContaining(rings));
      // Of what the driver gives the device to read nothing is written.
      await blk.write(0, new Uint8Array(65_536).fill(1));
      await report();
      const before = shared.memory.read(start, length);
      expect((await blk.read(0, 65_536 / 512)).every((byte) => byte === 1)).toBe(true);
      const after = shared.memory.read(start, length);
      const written = await report();
      const changed = [...Array(length / 4096).keys()].filter((page) => {
        const at = page * 4096;
        return Buffer.compare(before.subarray(at, at + 4096), after.subarray(at, at + 4096)) !== 0;
      });
      expect(written.length).toBeGreaterThan(quiet.length);
      // The driver's own writes are none of the device's: rings' available parts.
      const own = changed.filter((page) => !written.includes(page));
      expect(own.length).toBeLessThanOrEqual(3);
      expect(await report()).toEqual(quiet);
      await client.saveState();
      expect(await report()).toEqual(quiet);
      await client.stopDmaLogging();
      await expect(client.dirtyPages(start, length)).rejects.toMatchObject({ code: 'IO_ERROR' });
      pciFunction.close();
      shared.close();
      await served.expectNothingLeft();
    },
  );

  it('is told in pages of any size', async () => {
    const { served, shared, pciFunction, client, blk } = await disk(byMessages, false);
    const { start } = shared.memory.regions[0]!;
    await client.startDmaLogging();
    await client.dirtyPages(start, length);
    await blk.read(0, 8);
    const large = pagesOf(await client.dirtyPages(start, length, 65_536));
    await client.dirtyPages(start, length);
    await blk.read(0, 8);
    const small = pagesOf(await client.dirtyPages(start, length, 1024));
    expect(large).toEqual([...new Set(small.map((page) => Math.floor(page / 64)))]);
    // Four of them for each page.
    expect(small.every((page) => small.includes(page ^ 1) && small.includes(page ^ 2))).toBe(true);
    pciFunction.close();
    shared.close();
    await served.expectNothingLeft();
  });
});

describe('logging of writes', () => {
  const feature = (flags: number, ...data: Uint8Array[]): Uint8Array =>
    joined(vfio_user_device_feature.encode({ argsz: 4096, flags }), ...data);
  const control = (
    fields: Parameters<typeof vfio_user_device_feature_dma_logging_control.encode>[0],
  ): Uint8Array => vfio_user_device_feature_dma_logging_control.encode({ page_size: 4096n, ...fields });
  const report = (
    fields: Parameters<typeof vfio_user_device_feature_dma_logging_report.encode>[0],
  ): Uint8Array =>
    feature(
      DMA_LOGGING_REPORT | GET,
      vfio_user_device_feature_dma_logging_report.encode({ length: 4096n, page_size: 4096n, ...fields }),
    );
  const range = vfio_user_device_feature_dma_logging_range.encode({ iova: 2n ** 64n - 1n, length: 4096n });
  const start = feature(DMA_LOGGING_START | SET, control({}));

  it('can be asked for, and says which pages it has', async () => {
    const served = new Served();
    const wire = await served.wire();
    for (const [flags, expected] of [
      [DMA_LOGGING_START | SET | PROBE, 0],
      [DMA_LOGGING_STOP | SET | PROBE, 0],
      [DMA_LOGGING_REPORT | GET | PROBE, 0],
      [DMA_LOGGING_REPORT | SET | PROBE, errno.ENOTTY],
      [DMA_LOGGING_START | GET, errno.EINVAL],
    ] as const) {
      expect(await wire.refusal('DEVICE_FEATURE', feature(flags))).toBe(expected);
    }
    const reply = await wire.ask(
      'DEVICE_FEATURE',
      feature(DMA_LOGGING_START | SET, control({ page_size: 2n ** 20n })),
    );
    expect(vfio_user_device_feature_dma_logging_control.read(reply.view, 8).page_size).toBe(4096n);
    wire.close();
    await served.expectNothingLeft();
    // The next client has not started it.
    const next = await served.wire();
    expect(await next.refusal('DEVICE_FEATURE', report({}))).toBe(errno.EINVAL);
    next.close();
  });

  it.each<[string, Uint8Array, number?]>([
    ['a second start', start],
    ['no control', feature(DMA_LOGGING_START | SET)],
    ['pages of no bytes', feature(DMA_LOGGING_START | SET, control({ page_size: 0n }))],
    ['pages of 3 bytes', feature(DMA_LOGGING_START | SET, control({ page_size: 3n }))],
    ['4 billion ranges', feature(DMA_LOGGING_START | SET, control({ num_ranges: 0xffff_ffff }))],
    ['a range beyond the last address', feature(DMA_LOGGING_START | SET, control({ num_ranges: 1 }), range)],
    ['a stop with data', feature(DMA_LOGGING_STOP | SET, new Uint8Array(1))],
    ['half a report', report({}).subarray(0, 31)],
    ['a report beyond the last address', report({ iova: 2n ** 53n - 1n })],
    ['a report of pages of no bytes', report({ page_size: 0n })],
    ['a report of pages of 5 bytes', report({ page_size: 5n })],
    ['a report of more bytes than there is room for', report({ length: 2n ** 30n, page_size: 4096n })],
    ['a report of 2^50 pages', report({ length: 2n ** 50n, page_size: 1n }), errno.E2BIG],
  ])('refuses %s', async (_, payload, expected = errno.EINVAL) => {
    const served = new Served();
    const wire = await served.wire();
    expect(await wire.refusal('DEVICE_FEATURE', start)).toBe(0);
    expect(await wire.refusal('DEVICE_FEATURE', payload)).toBe(expected);
    expect(
      await wire.refusal(
        'DEVICE_FEATURE',
        report({ iova: 2n ** 52n, length: 2n ** 50n, page_size: 2n ** 49n }),
      ),
    ).toBe(0);
    expect(await wire.refusal('DEVICE_FEATURE', feature(DMA_LOGGING_STOP | SET))).toBe(0);
    expect(await wire.refusal('DEVICE_FEATURE', feature(DMA_LOGGING_STOP | SET))).toBe(errno.EINVAL);
    wire.close();
    await served.expectNothingLeft();
  });
});

it('a record of writes all over the address space takes no more memory in the end, and says that all was written', () => {
  const pages = new DirtyPages();
  const taken = (): number[][] => {
    const ranges: number[][] = [];
    pages.take(0, 2 ** 20, (from, to) => void ranges.push([from, to]));
    return ranges;
  };
  for (let i = 0; i < 2 ** 14; i++) pages.mark(4096 + i * 2 ** 27, 1);
  expect(taken()).toEqual([[4096, 8192]]);
  pages.mark(2 ** 50, 1);
  expect(taken()).toEqual([[0, 2 ** 20]]);
  pages.mark(2 ** 51, 2 ** 40);
  expect(taken()).toEqual([[0, 2 ** 20]]);
});
