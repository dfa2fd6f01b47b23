import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { blkDevice, openBlk, overlayStorage } from 'virtio/devices/blk';
import { Loopback } from 'virtio/transports/loopback';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { descriptorOf } from './descriptors.fixture.ts';
import { openFileStorage } from './index.ts';
import { pattern } from './pattern.fixture.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtio-storage-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const mebibyte = 2 ** 20;

function image(bytes: Uint8Array | number = mebibyte): string {
  const path = join(folder, 'disk.img');
  writeFileSync(path, typeof bytes === 'number' ? new Uint8Array(bytes) : bytes);
  return path;
}

describe('openFileStorage', () => {
  it('uses a raw file in place', async () => {
    const path = image(pattern(mebibyte));
    const storage = await openFileStorage(path);
    expect(storage).toMatchObject({ size: mebibyte, readOnly: false, path });
    const read = new Uint8Array(4096);
    storage.read(8192, read);
    expect(read).toEqual(pattern(mebibyte).subarray(8192, 12288));
    storage.write(512, new Uint8Array(1024).fill(9));
    await storage.flush();
    await storage.close();
    const after = readFileSync(path);
    expect(after.length).toBe(mebibyte);
    expect(after.subarray(512, 1536).every((byte) => byte === 9)).toBe(true);
  });

  it('touches no file once it is closed, whoever has its descriptor by then', async () => {
    const path = image();
    const storage = await openFileStorage(path);
    const [first, second] = [storage.close(), storage.close()];
    await Promise.all([first, second]);
    const other = join(folder, 'other');
    writeFileSync(other, pattern(4096));
    // The system gives the lowest descriptor that is free: that of the image.
    const fd = openSync(other, 'r+');
    try {
      const closed = expect.objectContaining({ code: 'IO_ERROR', message: `${path} is closed` });
      const bytes = new Uint8Array(512);
      expect(() => storage.write(0, bytes)).toThrow(closed);
      expect(() => storage.read(0, bytes)).toThrow(closed);
      expect(() => storage.discard?.(0, 512)).toThrow(closed);
      expect(() => storage.writeZeroes?.(0, 512, false)).toThrow(closed);
      expect(() => storage.resize(512)).toThrow(closed);
      await expect(storage.flush()).rejects.toEqual(closed);
      await storage.close();
      expect(fstatSync(fd).size).toBe(4096);
    } finally {
      closeSync(fd);
    }
    expect(new Uint8Array(readFileSync(other))).toEqual(pattern(4096));
  });

  it('believes no flush behind one that failed: the kernel has forgotten what it could not write', async () => {
    const path = image();
    await (await openFileStorage(path)).close();
    const lowest = openSync(path, 'r+');
    closeSync(lowest);
    const storage = await openFileStorage(path);
    storage.write(0, new Uint8Array(512).fill(1));
    // The image has the lowest descriptor: one that is closed fails as a broken disk does.
    closeSync(lowest);
    const failed = expect.objectContaining({
      code: 'IO_ERROR',
      cause: expect.objectContaining({ code: 'EBADF' }),
    });
    await expect(storage.flush()).rejects.toEqual(failed);
    expect(openSync(path, 'r+')).toBe(lowest);
    await expect(storage.flush()).rejects.toEqual(failed);
    await storage.close();
  });

  it('makes a file that takes no room before it is written', async () => {
    const path = join(folder, 'new.img');
    const storage = await openFileStorage(path, { create: true, size: 64 * mebibyte });
    expect(storage.size).toBe(64 * mebibyte);
    expect(statSync(path).blocks).toBeLessThan(64);
    await storage.close();
    const again = await openFileStorage(path, { create: true, size: mebibyte });
    expect(again.size).toBe(64 * mebibyte);
    await again.close();
  });

  it('gives room back by punching holes, and makes zeroes that keep it', async () => {
    const path = image(new Uint8Array(mebibyte).fill(1));
    const storage = await openFileStorage(path);
    await storage.flush();
    const full = statSync(path).blocks;
    await storage.writeZeroes?.(0, 256 * 1024, true);
    await storage.discard?.(512 * 1024, 256 * 1024);
    await storage.writeZeroes?.(300 * 1024, 1024, false);
    const bytes = readFileSync(path);
    const zero = (from: number, to: number): boolean => bytes.subarray(from, to).every((byte) => byte === 0);
    expect(zero(0, 256 * 1024)).toBe(true);
    expect(zero(300 * 1024, 301 * 1024)).toBe(true);
    expect(bytes[256 * 1024]).toBe(1);
    expect(bytes[301 * 1024]).toBe(1);
    // File systems differ in what they give back; none may take more.
    expect(statSync(path).blocks).toBeLessThanOrEqual(full);
    expect(statSync(path).size).toBe(mebibyte);
    await storage.close();
  });

  it('refuses a second writer, and readers beside a writer; readers agree among themselves', async () => {
    const path = image();
    const writer = await openFileStorage(path);
    const refusal = { code: 'IN_USE', message: expect.stringContaining(path) };
    await expect(openFileStorage(path)).rejects.toMatchObject(refusal);
    await expect(openFileStorage(path, { readOnly: true })).rejects.toMatchObject(refusal);
    await writer.close();
    const readers = [
      await openFileStorage(path, { readOnly: true }),
      await openFileStorage(path, { readOnly: true }),
    ];
    await expect(openFileStorage(path)).rejects.toMatchObject(refusal);
    for (const reader of readers) await reader.close();
    await (await openFileStorage(path)).close();
  });

  it.each([
    ['too short', 511],
    ['no multiple of 512', 1000],
    ['empty', 0],
  ])('refuses a file that is %s, and says what to do', async (_what, size) => {
    const path = image(size);
    const failure = await openFileStorage(path).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'BAD_IMAGE', message: expect.stringMatching(/truncate -s/) });
    expect(statSync(path).size).toBe(size);
    writeFileSync(path, new Uint8Array(512));
    await (await openFileStorage(path)).close();
  });

  it('says which file is missing, a directory, or not ours to open', async () => {
    const missing = join(folder, 'missing.img');
    await expect(openFileStorage(missing)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: `${missing} does not exist: check the name`,
    });
    await expect(openFileStorage(join(missing, 'x'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(openFileStorage(folder)).rejects.toMatchObject({ code: 'BAD_IMAGE' });
    await expect(openFileStorage(folder, { readOnly: true })).rejects.toMatchObject({ code: 'BAD_IMAGE' });
    expect(existsSync(missing)).toBe(false);
  });

  it.skipIf(process.getuid?.() === 0)('says that permissions are lacking', async () => {
    const path = image();
    chmodSync(path, 0o400);
    await expect(openFileStorage(path)).rejects.toMatchObject({
      code: 'IO_ERROR',
      message: expect.stringContaining('permissions'),
    });
  });

  it('makes nothing when the size it should have is missing or odd', async () => {
    const path = join(folder, 'new.img');
    for (const options of [{ create: true }, { create: true, size: 700 }]) {
      await expect(openFileStorage(path, options)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    }
    await expect(openFileStorage(path, { create: true, readOnly: true, size: 512 })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(existsSync(path)).toBe(false);
  });

  it('reports a file that was cut while it was in use', async () => {
    const path = image();
    const storage = await openFileStorage(path);
    truncateSync(path, 4096);
    expect(() => storage.read(2048, new Uint8Array(4096))).toThrow(
      expect.objectContaining({ code: 'BAD_IMAGE', message: expect.stringContaining('ends at byte 4096') }),
    );
    await storage.close();
  });

  it.runIf(process.platform === 'linux').each([false, true])(
    'is read without haste: io_uring gives up what takes time where the file says so (direct: %s)',
    async (direct) => {
      const path = realpathSync(image());
      const storage = await openFileStorage(path, { direct });
      const said = readFileSync(`/proc/self/fdinfo/${descriptorOf(path)}`, 'latin1');
      const flags = /^flags:\s*(\d+)/m.exec(said)?.[1] ?? '';
      const { O_NONBLOCK, O_DIRECT } = constants;
      expect(Number.parseInt(flags, 8) & (O_NONBLOCK | O_DIRECT)).toBe(direct ? O_DIRECT : 0);
      await storage.close();
    },
  );

  it.runIf(existsSync('/dev/full'))('calls a full disk by its name', async () => {
    await expect(openFileStorage('/dev/full')).rejects.toMatchObject({ code: 'BAD_IMAGE' });
    const path = join(folder, 'huge.img');
    const failure = openFileStorage(path, { create: true, size: 2 ** 53 - 512 });
    await expect(failure).rejects.toMatchObject({ code: 'NO_SPACE' });
  });

  it('grows under a running disk, whose driver hears of it', async () => {
    const storage = await openFileStorage(image());
    const device = blkDevice({ storage });
    const grown = new Promise<number>((onCapacityChange) => {
      void openBlk(new Loopback(device), { onCapacityChange }).then(() => {
        storage.resize(2 * mebibyte);
        device.updateCapacity();
      });
    });
    expect(await grown).toBe(4096);
    expect(() => storage.resize(100)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    await storage.close();
  });

  it('is a disk to a driver: what was written and flushed has the same hash in the file', async () => {
    const path = image(4 * mebibyte);
    const storage = await openFileStorage(path);
    const disk = await openBlk(new Loopback(blkDevice({ storage, cache: 'writethrough' })));
    const data = pattern(3 * mebibyte);
    await disk.write(100, data);
    await disk.discard(0, 100);
    await disk.writeZeroes(7000, 8, { unmap: true });
    await disk.close();
    await storage.close();
    const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
    expect(hash(readFileSync(path).subarray(51_200, 51_200 + data.length))).toBe(hash(data));
  });

  it('lies untouched under an overlay', async () => {
    const path = image(pattern(mebibyte));
    const base = await openFileStorage(path, { readOnly: true });
    const disk = await openBlk(new Loopback(blkDevice({ storage: overlayStorage(base) })));
    await disk.write(3, new Uint8Array(4096).fill(5));
    expect((await disk.read(2, 2)).subarray(512)).toEqual(new Uint8Array(512).fill(5));
    await disk.close();
    await base.close();
    expect(readFileSync(path).equals(pattern(mebibyte))).toBe(true);
  });

  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it('has everything that was acknowledged, and no lock, when its process is killed', async () => {
    const path = image(16 * 512);
    const script = fileURLToPath(new URL('./crash-writer.fixture.ts', import.meta.url));
    const child = spawn(process.execPath, ['--conditions=source', '--import', 'tsx', script, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the writer ended with ${code}: ${said}`)));
      child.stdout.on('data', (part: Buffer) => {
        said += part.toString();
        if (said.split('\n').length > 30) resolve();
      });
    });
    child.removeAllListeners('exit');
    const dead = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await dead;
    const acknowledged = Number(said.trimEnd().split('\n').at(-1));
    const storage = await openFileStorage(path);
    const bytes = new Uint8Array(storage.size);
    storage.read(0, bytes);
    await storage.close();
    for (let round = Math.max(1, acknowledged - 14); round <= acknowledged; round++) {
      expect(bytes[(round % 16) * 512]).toBe(round & 0xff);
    }
  }, 20_000);
});

describe('importing the storage', () => {
  it('loads no foreign library before a file is opened', async () => {
    const script = `
      const { createRequire } = await import('node:module');
      await import(${JSON.stringify(new URL('./index.ts', import.meta.url).href)});
      const loaded = Object.keys(createRequire(import.meta.url).cache).some((path) => path.includes('koffi'));
      process.stdout.write(loaded ? 'loaded' : 'not loaded');`;
    const child = spawn(
      process.execPath,
      ['--conditions=source', '--import', 'tsx', '--input-type=module', '-e', script],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let said = '';
    child.stdout.on('data', (part: Buffer) => {
      said += part.toString();
    });
    await new Promise((resolve) => child.once('close', resolve));
    expect(said).toBe('not loaded');
  }, 20_000);
});
