import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { blkDevice, openBlk } from 'virtio/devices/blk';
import type { HostError } from 'virtio/errors';
import { Loopback } from 'virtio/transports/loopback';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { descriptorOf } from './descriptors.fixture.ts';
import { openFileStorage } from './file-storage.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtio-failures-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const script = fileURLToPath(new URL('./failing-writer.fixture.ts', import.meta.url));
const node = [process.execPath, '--conditions=source', '--import', 'tsx', script];

/** Runs the writer under a shell that first takes room away from it. */
async function writeUnder(
  wrapper: readonly string[],
  shell: string,
  args: readonly string[],
): Promise<unknown> {
  const [program = '', ...rest] = [...wrapper, 'sh', '-c', `${shell}; exec "$@"`, 'sh', ...node, ...args];
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (part: Buffer) => {
    said += part.toString();
  });
  await new Promise((resolve) => child.once('close', resolve));
  return JSON.parse(said);
}

const ownMounts = ['unshare', '-rm'] as const;
const canMount =
  process.platform === 'linux' &&
  spawnSync(ownMounts[0], [ownMounts[1], 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0;

/** Lets a descriptor stand for another file. */
function exchange(fd: number, path: string): void {
  closeSync(fd);
  const spare: number[] = [];
  for (let got = openSync(path, 'r+'); got !== fd; got = openSync(path, 'r+')) spare.push(got);
  for (const one of spare) closeSync(one);
}

describe.runIf(process.platform === 'linux')('a disk that fails beneath its driver', () => {
  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it.runIf(canMount).each(['at once', 'threads', 'io_uring', 'direct'])(
    'ends writes with IOERR when the file system is full, and lives on: %s',
    async (how) => {
      const outcome = await writeUnder(ownMounts, `mount -t tmpfs -o size=1m tmpfs '${folder}'`, [
        join(folder, 'disk.img'),
        how,
      ]);
      expect(outcome).toEqual({
        sector: 2048,
        refused: 'IO_ERROR',
        reported: ['NO_SPACE'],
        intact: true,
        sound: true,
      });
    },
    30_000,
  );

  it.runIf(canMount)(
    'ends writes with IOERR when there is no room for an image to grow, and keeps what was written before',
    async () => {
      const outcome = await writeUnder(ownMounts, `mount -t tmpfs -o size=1m tmpfs '${folder}'`, [
        join(folder, 'disk.qcow2'),
        'qcow2',
      ]);
      // Its tables take room too, and have it before data does: all else is flushed when it ends.
      const all = { refused: 'IO_ERROR', reported: ['NO_SPACE'], intact: true, sound: true };
      expect(outcome).toMatchObject(all);
    },
    30_000,
  );

  it('ends writes with IOERR beyond what the process may write, and lives on', async () => {
    // The limit counts blocks of 512 bytes. The file is there already, since a limit forbids to make it so long.
    const path = join(folder, 'disk.img');
    writeFileSync(path, new Uint8Array(4 * 2 ** 20));
    const outcome = await writeUnder([], `trap '' XFSZ; ulimit -f 2048`, [path, 'at once']);
    expect(outcome).toEqual({
      sector: 2048,
      refused: 'IO_ERROR',
      reported: ['NO_SPACE'],
      intact: true,
      sound: true,
    });
  }, 30_000);

  it.each([
    ['at once', {}],
    ['threads', { io: 'threads' }],
    ['io_uring', { io: 'io_uring' }],
  ] as const)(
    'ends reads and writes with IOERR when the medium fails, and reports the cause: %s',
    async (_, options) => {
      const path = join(folder, 'disk.img');
      writeFileSync(path, new Uint8Array(65_536));
      const storage = await openFileStorage(path, options);
      const reported: HostError[] = [];
      const disk = await openBlk(
        new Loopback(blkDevice({ storage, onError: (error) => reported.push(error) })),
      );
      await disk.write(0, new Uint8Array(512).fill(1));
      // Its descriptor becomes that of a file whose first page cannot be read or written: EIO.
      const fd = descriptorOf(path);
      exchange(fd, '/proc/self/mem');
      const refused = { code: 'IO_ERROR', status: 'IOERR' };
      await expect(disk.read(0, 8)).rejects.toMatchObject(refused);
      await expect(disk.write(0, new Uint8Array(512))).rejects.toMatchObject(refused);
      expect(reported.map(({ code, message }) => [code, message])).toEqual([
        ['IO_ERROR', `${path} cannot be read: EIO`],
        ['IO_ERROR', `${path} cannot be written: EIO`],
      ]);
      exchange(fd, path);
      expect((await disk.read(0, 1)).every((byte) => byte === 1)).toBe(true);
      await disk.close();
      await storage.close();
      expect(readFileSync(path)[0]).toBe(1);
    },
  );
});
