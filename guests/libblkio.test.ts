import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TraceEvent } from 'virtio/device';
import { blkDevice, memoryStorage } from 'virtio/devices/blk';
import { ensureTool, GuardedChild } from 'virtio-node/guests';
import { type NbdStorage, openNbd } from 'virtio-node/storage';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { pattern } from './qemu-machine.ts';
import { ServedDevice } from './vhost-user-suite.ts';

const size = 4 * 2 ** 20;
const patience = { timeout: 60_000, interval: 50 };
vi.setConfig({ testTimeout: 120_000, hookTimeout: 300_000 });

/** Our disk, as the front end of libblkio sees it, by way of a plugin of nbdkit. */
describe('libblkio, on our vhost-user back end', () => {
  const storage = memoryStorage(size);
  const features: string[] = [];
  let folder: string;
  let served: ServedDevice;
  let nbdkit: GuardedChild;
  let disk: NbdStorage;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virtio-blkio-'));
    const [socket, nbd] = [join(folder, 'disk'), join(folder, 'nbd')];
    served = new ServedDevice(blkDevice({ storage, queues: 2 }), socket, (event: TraceEvent) => {
      if (event.kind === 'features') features.push(...event.accepted);
    });
    await storage.write(0, pattern(size, 1));
    const tool = await ensureTool('nbdkit-blkio', { path: [] });
    const plugin = join(tool.folder, '../lib/x86_64-linux-gnu/nbdkit/plugins/nbdkit-blkio-plugin.so');
    const args = ['-f', '-U', nbd, plugin, 'virtio-blk-vhost-user', `path=${socket}`];
    nbdkit = await GuardedChild.start(tool.file, args, { name: 'nbdkit', environment: tool.environment });
    disk = await vi.waitFor(() => openNbd(`nbd+unix:///?socket=${nbd}`), patience);
  });

  afterAll(async () => {
    await disk?.close();
    await nbdkit?.kill();
    served?.stop();
    await rm(folder, { recursive: true });
  });

  it('reads, writes, flushes, discards and zeroes', async () => {
    expect(disk).toMatchObject({ size, readOnly: false, sparse: true });
    const expected = Buffer.from(pattern(size, 1));
    const found = Buffer.alloc(size);
    await disk.read(0, found);
    expect(found.equals(expected)).toBe(true);
    for (const [sector, count] of [
      [1, 1],
      [100, 300],
      [8191, 1],
    ] as const) {
      const bytes = pattern(count * 512, sector);
      expected.set(bytes, sector * 512);
      await disk.write(sector * 512, bytes);
    }
    await disk.writeZeroes?.(2000 * 512, 16 * 512, false);
    expected.fill(0, 2000 * 512, 2016 * 512);
    await disk.flush();
    await storage.read(0, found);
    expect(found.equals(expected)).toBe(true);
    await disk.discard?.(4000 * 512, 64 * 512);
    await disk.read(0, found);
    expect(found.subarray(0, 4000 * 512).equals(expected.subarray(0, 4000 * 512))).toBe(true);
    expect(features).toEqual(expect.arrayContaining(['VERSION_1', 'FLUSH', 'DISCARD', 'WRITE_ZEROES']));
    expect(served.errors).toEqual([]);
  });
});
