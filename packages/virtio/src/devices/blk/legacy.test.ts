import { describe, expect, it } from 'vitest';
import { legacyInterface } from '../../device/legacy.ts';
import { status } from '../../spec/status.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { blkDevice } from './device.ts';
import { legacyRequestType } from './legacy.ts';
import { memoryStorage } from './memory-storage.ts';
import { pattern, rawDisk, sameBytes, segments, slowStorage } from './raw-disk.fixture.ts';
import { blk } from './spec.ts';
import { requestType } from './spec-requests.ts';

const { BARRIER, FLUSH_OUT, SCSI_CMD } = legacyRequestType;
const barrierBit = 0;
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe.each(['little', 'big'] as const)('a disk with a legacy driver of a %s-endian guest', (endian) => {
  it('reads headers in the byte order of the guest, and ranges little-endian', async () => {
    const storage = memoryStorage(64 * 512);
    const disk = await rawDisk({ storage }, { legacy: { endian, bits: [] } });
    const data = pattern(1024);
    expect((await disk.request({ type: requestType.OUT, sector: 3, data })).status).toBe('OK');
    const read = await disk.request({ type: requestType.IN, sector: 3, answer: 1024 });
    expect(sameBytes(read.data, data)).toBe(true);
    const zeroed = await disk.request({ type: requestType.WRITE_ZEROES, data: segments([3, 2]) });
    expect(zeroed.status).toBe('OK');
    const after = await disk.request({ type: requestType.IN, sector: 3, answer: 1024 });
    expect(after.data.every((byte) => byte === 0)).toBe(true);
    expect(disk.errors).toEqual([]);
  });

  it('takes FLUSH_OUT for FLUSH, and no SCSI command', async () => {
    const storage = slowStorage(memoryStorage(64 * 512), true);
    const disk = await rawDisk({ storage }, { legacy: { endian, bits: [] } });
    expect((await disk.request({ type: FLUSH_OUT })).status).toBe('OK');
    expect(storage.log).toEqual(['flush']);
    expect((await disk.request({ type: SCSI_CMD, answer: 4 })).status).toBe('UNSUPP');
  });

  it('orders requests around a barrier, where BARRIER was negotiated', async () => {
    const storage = slowStorage(memoryStorage(64 * 512));
    const disk = await rawDisk({ storage }, { legacy: { endian, bits: [barrierBit] } });
    const read = (sector: number, flag = 0) =>
      disk.request({ type: requestType.IN + flag, sector, answer: 512 });
    const all = [read(1), read(2, BARRIER), read(3)];
    await settle();
    expect(storage.log).toEqual(['read 512 512']);
    await storage.step();
    expect(storage.log).toEqual(['read 512 512', 'read 1024 512']);
    await storage.step();
    await storage.step();
    expect((await Promise.all(all)).map(({ status }) => status)).toEqual(['OK', 'OK', 'OK']);
    const without = await rawDisk({ storage: memoryStorage(512) }, { legacy: { endian, bits: [] } });
    expect((await without.request({ type: BARRIER, answer: 512 })).status).toBe('UNSUPP');
  });
});

it('keeps the cache mode that a legacy driver chose before its features, whatever these are', async () => {
  const disk = blkDevice({ storage: memoryStorage(64 * 512) });
  const { core } = new Loopback(disk, { legacy: legacyInterface() });
  const { offset } = blk.config.field.writeback;
  core.writeConfig(offset, 1, 1);
  core.writeStatus(status.ACKNOWLEDGE);
  core.writeStatus(status.ACKNOWLEDGE | status.DRIVER);
  core.writeDriverFeatures(0, 2 ** blk.features.CONFIG_WCE);
  core.writeStatus(status.ACKNOWLEDGE | status.DRIVER | status.DRIVER_OK);
  expect(disk.config.writeback).toBe(1);
});
