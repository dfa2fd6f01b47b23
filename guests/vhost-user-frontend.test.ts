import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBlk } from 'virtio/devices/blk';
import { openFs } from 'virtio/devices/fs';
import { probeVhostUser, type VhostUserTransport } from 'virtio/vhost-user';
import { ensureTool, GuardedChild } from 'virtio-node/guests';
import { connectUnix, NodeDescriptors } from 'virtio-node/host';
import { answerLimit, connectVhostUser } from 'virtio-node/vhost-user';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sha256 } from './hash.ts';
import { pattern } from './qemu-machine.ts';
import { StorageDaemon } from './storage-daemon.ts';

const sectors = 16 * 2048;
/** Milliseconds for a machine that has much else to do. */
const patience = 120_000;

let folder: string;
let image: string;
let daemon: StorageDaemon;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-daemon-'));
  image = join(folder, 'disk');
});
afterAll(() => rm(folder, { recursive: true }));

const connect = (options: { readonly reconnectFor?: number } = {}): Promise<VhostUserTransport> =>
  connectVhostUser(daemon.device.socket, { deviceId: 2, timeout: patience, ...options });

async function imageHolds(sector: number, bytes: Uint8Array): Promise<void> {
  const whole = await readFile(image);
  expect(sha256(whole.subarray(sector * 512, sector * 512 + bytes.length))).toBe(sha256(bytes));
}

describe('virtiofsd', () => {
  it('is driven by us, as another project’s back end of another kind', async () => {
    const tool = await ensureTool('virtiofsd', { path: [] });
    const socket = join(folder, 'fs');
    const shared = join(folder, 'shared');
    await mkdir(shared);
    await writeFile(join(shared, 'there'), 'from the host');
    const child = await GuardedChild.start(
      tool.file,
      ['--socket-path', socket, '--shared-dir', shared, '--sandbox', 'none', '--tag', 'shared', '--xattr'],
      { name: 'virtiofsd', environment: tool.environment },
    );
    try {
      await until(() => child.hasEnded || existsSync(socket));
      if (child.hasEnded) throw await child.ended;
      const transport = await connectVhostUser(socket, {
        deviceId: 26,
        queueMaxSize: 1024,
        timeout: patience,
      });
      expect(transport.session.protocolFeatures).toEqual(
        expect.arrayContaining(['MQ', 'REPLY_ACK', 'BACKEND_REQ', 'CONFIG', 'RESET_DEVICE']),
      );
      const files = await openFs(transport);
      expect(files.tag).toBe('shared');
      expect(Buffer.from(await files.readFile('/there')).toString()).toBe('from the host');
      const content = pattern(3_000_000, 1);
      await files.mkdir('/d', 0o711);
      await files.writeFile('/d/file', content, 0o640);
      expect(sha256(await readFile(join(shared, 'd/file')))).toBe(sha256(content));
      expect(sha256(await files.readFile('/d/file'))).toBe(sha256(content));
      expect(await files.stat('/d/file')).toMatchObject({ mode: 0o100640, size: content.length });
      await files.symlink('d/file', '/link');
      await files.rename('/there', '/d/moved', 'noreplace');
      await expect(files.stat('/there')).rejects.toMatchObject({ code: 'ENOENT' });
      await files.change('/link', { mtime: { seconds: 5, nanoseconds: 6 } });
      expect(await files.stat('/link', { follow: false })).toMatchObject({ mtime: 5, mtimensec: 6 });
      const listed = await files.readdir('/d', { attributes: true });
      expect(listed.map(({ name, attributes }) => [name, attributes?.size]).sort()).toEqual([
        ['file', content.length],
        ['moved', 13],
      ]);
      await files.setXattr('/d/file', 'user.a', Buffer.from('value'));
      expect(await files.listXattrs('/d/file')).toEqual(['user.a']);
      await files.unlink('/d/file');
      expect(await readdir(join(shared, 'd'))).toEqual(['moved']);
      await files.close();
    } finally {
      await child.kill();
    }
  });
});

describe('QEMU’s storage daemon', () => {
  beforeEach(async () => {
    await writeFile(image, pattern(sectors * 512, 0));
    daemon = await StorageDaemon.start(`file,filename=${image},discard=unmap`, 2);
  });
  afterEach(() => daemon.stop());

  it('tells what it is', async () => {
    const limit = answerLimit(patience);
    const probe = await probeVhostUser(connectUnix(daemon.device.socket), new NodeDescriptors(), { limit });
    expect(probe.protocolFeatures).toEqual(expect.arrayContaining(['MQ', 'REPLY_ACK', 'CONFIG']));
    expect(probe).toMatchObject({ queues: 2, unknownProtocolFeatures: 0n });
    const config = probe.config ?? new Uint8Array(0);
    expect(new DataView(config.buffer, config.byteOffset).getBigUint64(0, true)).toBe(BigInt(sectors));
  });

  it.each([
    {
      ring: 'event index, indirect',
      reserved: ['VERSION_1', 'EVENT_IDX', 'INDIRECT_DESC'],
      indirectPolicy: 'always',
    },
    { ring: 'event index', reserved: ['VERSION_1', 'EVENT_IDX'], indirectPolicy: 'never' },
    { ring: 'indirect', reserved: ['VERSION_1', 'INDIRECT_DESC'], indirectPolicy: 'always' },
    { ring: 'neither', reserved: ['VERSION_1'], indirectPolicy: 'never' },
  ] as const)('reads and writes for us: $ring', async ({ reserved, indirectPolicy }) => {
    const disk = await openBlk(await connect(), { reserved, indirectPolicy, queues: 2 });
    expect(disk.capacity).toBe(sectors);
    const expected = pattern(sectors * 512, 0);
    const ranges: readonly (readonly [number, number])[] = [
      [0, 8],
      [100, 1],
      [2000, 2048],
    ];
    const read = await Promise.all(ranges.map(([sector, count]) => disk.read(sector, count)));
    for (const [index, [sector, count]] of ranges.entries()) {
      const there = expected.subarray(sector * 512, (sector + count) * 512);
      expect(sha256(read[index] ?? new Uint8Array())).toBe(sha256(there));
    }
    const [small, large] = [pattern(3 * 512, 1), pattern(2 ** 20, 2)];
    await Promise.all([disk.write(3, small), disk.write(3000, large)]);
    await disk.flush();
    await imageHolds(3, small);
    await imageHolds(3000, large);
    await disk.close();
  });

  it('discards, writes zeroes, and lets its driver choose the cache', async () => {
    const disk = await openBlk(await connect());
    const before = (await stat(image)).blocks;
    await disk.discard(2048, 8192);
    await disk.flush();
    expect((await stat(image)).blocks).toBeLessThan(before);
    await disk.writeZeroes(100, 8);
    expect(Math.max(...(await disk.read(99, 10)).subarray(512, 9 * 512))).toBe(0);
    expect((await disk.read(99, 1))[1]).toBe(pattern(100 * 512, 0)[99 * 512 + 1]);
    await disk.setWriteback(false);
    expect(disk.writeback).toBe(false);
    await disk.close();
  });

  it('lends the disk to one connection after the other', async () => {
    for (let round = 1; round <= 5; round++) {
      const disk = await openBlk(await connect());
      await disk.write(0, pattern(512, round));
      expect(await disk.read(0, 1)).toEqual(pattern(512, round));
      await disk.close();
    }
  });

  it('is gone when it is killed, for whoever does not wait', async () => {
    const failures: Error[] = [];
    const transport = await connect();
    const disk = await openBlk(transport, { onFailure: (error) => void failures.push(error) });
    await daemon.kill();
    await until(() => failures.length > 0);
    expect(failures).toMatchObject([{ code: 'DEVICE_GONE' }]);
    await expect(disk.read(0, 1)).rejects.toMatchObject({ code: 'BAD_STATE' });
    await expect(disk.close()).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    await transport.close();
  });

  it('loses no write when it is killed in the midst of them and started again', async () => {
    const disk = await openBlk(await connect({ reconnectFor: patience }), { queues: 2 });
    const block = 8;
    const writers = 16;
    const done = new Map<number, number>();
    let stop = false;
    const write = async (writer: number): Promise<void> => {
      for (let round = 0; !stop; round++) {
        const sector = (writer + writers * (round % 16)) * block;
        await disk.write(sector, pattern(block * 512, round));
        done.set(sector, round);
      }
    };
    const writing = Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)));
    for (let death = 0; death < 3; death++) {
      const before = total(done);
      await until(() => total(done) > before + 200);
      await daemon.restart();
    }
    const before = total(done);
    await until(() => total(done) > before + 200);
    stop = true;
    await writing;
    await disk.flush();
    for (const [sector, round] of done) {
      expect(sha256(await disk.read(sector, block))).toBe(sha256(pattern(block * 512, round)));
      await imageHolds(sector, pattern(block * 512, round));
    }
    await disk.close();
  });
});

const total = (done: ReadonlyMap<number, number>): number =>
  [...done.values()].reduce((sum, round) => sum + round + 1, 0);

async function until(reached: () => boolean): Promise<void> {
  while (!reached()) await new Promise((resolve) => setTimeout(resolve, 5));
}
