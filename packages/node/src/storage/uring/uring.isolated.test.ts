import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { uringCalls } from '../../ffi/uring.ts';
import { openFiles } from '../descriptors.fixture.ts';
import { openFileStorage } from '../file-storage.ts';
import { pattern } from '../pattern.fixture.ts';
import { Uring } from './uring.ts';

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'virtio-uring-')));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const { errno } = constants;
const size = 2 ** 20;
const isSame = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;

function image(): string {
  const path = join(folder, 'disk.img');
  writeFileSync(path, pattern(size));
  return path;
}

/** A container's rules may forbid it. */
const first = Uring.open();
first?.close();

describe.runIf(first !== undefined)('a file through io_uring', () => {
  it.each([false, true])(
    'does what a plain array does, whatever is under way; direct: %s',
    async (direct) => {
      const write = fc.record({
        sector: fc.nat(2047),
        count: fc.integer({ min: 1, max: 600 }),
        seed: fc.nat(255),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(write, { maxLength: 8 }), { maxLength: 4 }), async (rounds) => {
          const path = image();
          const storage = await openFileStorage(path, { direct, io: 'io_uring' });
          expect(storage).toMatchObject({ io: 'io_uring', immediate: false });
          const expected = pattern(size);
          for (const round of rounds) {
            const taken = new Set<number>();
            await Promise.all(
              round.map(async ({ sector, count, seed }) => {
                const sectors = Array.from({ length: Math.min(count, 2048 - sector) }, (_, i) => sector + i);
                if (sectors.some((one) => taken.has(one))) return;
                for (const one of sectors) taken.add(one);
                const data = pattern(sectors.length * 512, seed);
                expected.set(data, sector * 512);
                await storage.write(sector * 512, data);
                const read = new Uint8Array(data.length);
                await storage.read(sector * 512, read);
                expect(isSame(read, data)).toBe(true);
              }),
            );
            await storage.flush();
          }
          await storage.close();
          expect(isSame(readFileSync(path), expected)).toBe(true);
        }),
        { numRuns: 15 },
      );
    },
  );

  it('takes more at a time than the ring has entries', async () => {
    const storage = await openFileStorage(image(), { io: 'io_uring' });
    const expected = pattern(size);
    await Promise.all(
      Array.from({ length: 2000 }, async (_, i) => {
        const bytes = new Uint8Array(512);
        await storage.read(i * 512, bytes);
        expect(isSame(bytes, expected.subarray(i * 512, i * 512 + 512))).toBe(true);
      }),
    );
    await storage.close();
  });

  it('says what the system says, and goes on', async () => {
    const ring = Uring.open()!;
    const fd = openSync(image(), 'r');
    const bytes = new Uint8Array(1024);
    await expect(ring.write(fd, bytes, 0)).rejects.toMatchObject({ code: 'EBADF' });
    await expect(ring.read(2 ** 20, bytes, 0)).rejects.toMatchObject({ code: 'EBADF' });
    expect(await ring.read(fd, bytes, size - 512)).toBe(512);
    expect(await ring.read(fd, bytes, size)).toBe(0);
    expect(isSame(bytes.subarray(0, 512), pattern(size).subarray(size - 512))).toBe(true);
    ring.close();
    ring.close();
    closeSync(fd);
  });

  it.each(['EAGAIN', 'EINTR'] as const)('asks again what the kernel cannot do for now: %s', async (name) => {
    const storage = await openFileStorage(image(), { io: 'io_uring' });
    // In place of what the kernel answers.
    const answer = vi.spyOn(DataView.prototype, 'getInt32').mockReturnValueOnce(-errno[name]);
    const bytes = new Uint8Array(512);
    await storage.read(1024, bytes);
    expect(answer).toHaveBeenCalledTimes(2);
    expect(isSame(bytes, pattern(size).subarray(1024, 1536))).toBe(true);
    await storage.close();
  });

  it('waits for what is under way when it is closed, and leaves nothing open', async () => {
    const open = (): readonly number[] => {
      const targets = [...openFiles().values()];
      return ['io_uring', 'disk.img'].map((what) => targets.filter((target) => target.includes(what)).length);
    };
    const events = (): number =>
      [...openFiles().values()].filter((target) => target.includes('eventfd')).length;
    const eventsBefore = events();
    const before = open();
    const path = image();
    for (let round = 0; round < 20; round++) {
      const storage = await openFileStorage(path, { direct: true });
      const reads = Array.from({ length: 50 }, (_, i) => storage.read(i * 4096, new Uint8Array(4096)));
      const [closed, settled] = await Promise.all([storage.close(), Promise.allSettled(reads)]);
      expect(closed).toBeUndefined();
      for (const one of settled) {
        if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'IO_ERROR' });
      }
    }
    expect(open()).toEqual(before);
    const refused = openFileStorage(join(folder, 'nothing'), { io: 'io_uring' });
    await expect(refused).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(open()).toEqual(before);
    // Others in this process have some too, but not so many.
    expect(events()).toBeLessThan(eventsBefore + 20);
  });

  it('keeps no process alive that has nothing under way', async () => {
    const path = image();
    const script = `
      const { openFileStorage } = await import(${JSON.stringify(new URL('../index.ts', import.meta.url).href)});
      const storage = await openFileStorage(${JSON.stringify(path)}, { direct: true });
      await storage.read(0, new Uint8Array(4096));
      process.stdout.write(storage.io);`;
    expect(await said(script)).toEqual(['io_uring', 0]);
  });
});

describe('where there is no io_uring', () => {
  it('the thread pool does it', async () => {
    vi.spyOn(Uring, 'open').mockReturnValue(undefined);
    const storage = await openFileStorage(image(), { io: 'io_uring' });
    expect(storage.io).toBe('threads');
    const bytes = new Uint8Array(512);
    await storage.read(512, bytes);
    expect(isSame(bytes, pattern(size).subarray(512, 1024))).toBe(true);
    await storage.close();
  });

  it.runIf(first !== undefined).each(['setup', 'register', 'enter'] as const)(
    'since a call of it is forbidden: %s',
    async (name) => {
      const path = image();
      const before = openFiles(); // later versions of Node have rings of their own
      vi.spyOn(uringCalls(), name).mockReturnValue(-errno.EPERM);
      const storage = await openFileStorage(path, { direct: true });
      expect(storage.io).toBe('threads');
      await storage.read(0, new Uint8Array(512));
      await storage.close();
      const left = [...openFiles()].filter(([fd]) => !before.has(fd)).map(([, target]) => target);
      expect(left.filter((target) => /io_uring|disk\.img/.test(target))).toEqual([]);
    },
  );

  it('as in a worker, which has no event loop that could be told', async () => {
    const inside = `
      (await import('tsx/esm/api')).register();
      const { openFileStorage } = await import(${JSON.stringify(new URL('../index.ts', import.meta.url).href)});
      const storage = await openFileStorage(${JSON.stringify(image())}, { io: 'io_uring' });
      await storage.read(0, new Uint8Array(512));
      process.stdout.write(storage.io);
      await storage.close();`;
    const script = `
      const { Worker } = await import('node:worker_threads');
      new Worker(${JSON.stringify(inside)}, { eval: true });`;
    expect(await said(script)).toEqual(['threads', 0]);
  });
});

/** What a script says in a process of its own, and the status with which it ends. */
async function said(script: string): Promise<readonly [text: string, status: unknown]> {
  const args = ['--conditions=source', '--import', 'tsx', '--input-type=module', '-e', script];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (part: Buffer) => {
    text += part.toString();
  });
  const status = await new Promise((resolve) => child.once('close', resolve));
  return [text, status];
}
