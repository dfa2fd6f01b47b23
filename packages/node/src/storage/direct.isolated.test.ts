import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { blkDevice, openBlk } from 'virtio/devices/blk';
import { Loopback } from 'virtio/transports/loopback';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DirectTransfers } from './direct.ts';
import { openFileStorage } from './file-storage.ts';
import { pattern } from './pattern.fixture.ts';
import { RawFile } from './raw-file.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtio-direct-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const isSame = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;

function image(bytes: Uint8Array): string {
  const path = join(folder, 'disk.img');
  writeFileSync(path, bytes);
  return path;
}

/** What a disk of such sectors asks for, this machine's may not. */
function inBlocksOf4096(): void {
  vi.spyOn(DirectTransfers, 'probe').mockImplementation(async (file) => new DirectTransfers(file, 4096));
}

/** A regular file of a file system that knows no direct I/O, where this machine has one. */
const indirect = '/sys/kernel/mm/transparent_hugepage/enabled';

describe.runIf(process.platform === 'linux')('a raw file past the page cache', () => {
  it('is a disk to a driver, with requests of every size', async () => {
    const size = 2 ** 20;
    const path = image(pattern(size));
    const storage = await openFileStorage(path, { direct: true });
    expect(storage.immediate).toBe(false);
    const disk = await openBlk(new Loopback(blkDevice({ storage })));
    const expected = pattern(size);
    for (const [sector, count] of [
      [0, 1],
      [7, 9],
      [513, 1024],
      [2047, 1],
    ] as const) {
      const data = pattern(count * 512, sector);
      await disk.write(sector, data);
      expected.set(data, sector * 512);
    }
    await disk.writeZeroes(300, 5, { unmap: true });
    await disk.writeZeroes(320, 5);
    expected.fill(0, 300 * 512, 305 * 512).fill(0, 320 * 512, 325 * 512);
    await disk.flush();
    expect(isSame(await disk.read(0, 2048), expected)).toBe(true);
    await disk.close();
    await storage.close();
    expect(isSame(readFileSync(path), expected)).toBe(true);
  });

  it('does what a plain array does, whatever the blocks of its file system', async () => {
    const size = 16 * 4096;
    const change = fc.record({
      what: fc.constantFrom('write', 'write', 'zero', 'unmap'),
      sector: fc.nat(127),
      count: fc.integer({ min: 1, max: 40 }),
      seed: fc.nat(255),
    });
    inBlocksOf4096();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(change, { maxLength: 6 }), { maxLength: 6 }), async (rounds) => {
        const path = image(pattern(size));
        const expected = pattern(size);
        const storage = await openFileStorage(path, { direct: true });
        try {
          for (const round of rounds) {
            // Changes at a time: they share blocks, never sectors.
            const taken = new Set<number>();
            const under = round.map(async ({ what, sector, count, seed }) => {
              const sectors = Array.from({ length: count }, (_, i) => sector + i);
              if (sector + count > 128 || sectors.some((one) => taken.has(one))) return;
              for (const one of sectors) taken.add(one);
              const data = what === 'write' ? pattern(count * 512, seed) : new Uint8Array(count * 512);
              expected.set(data, sector * 512);
              if (what === 'write') await storage.write(sector * 512, data);
              else await storage.writeZeroes?.(sector * 512, data.length, what === 'unmap');
            });
            await Promise.all(under);
          }
          const all = new Uint8Array(size);
          await storage.read(0, all);
          expect(isSame(all, expected)).toBe(true);
          const part = new Uint8Array(1536);
          await storage.read(512 * 7, part);
          expect(part).toEqual(expected.subarray(512 * 7, 512 * 10));
        } finally {
          await storage.close();
        }
      }),
      { numRuns: 40 },
    );
  });

  it.each(['writeZeroes', 'discard'] as const)(
    'lets no write of a part of a block bring back what is gone meanwhile: %s',
    async (what) => {
      inBlocksOf4096();
      const path = image(pattern(8192));
      const storage = await openFileStorage(path, { direct: true });
      const under: unknown[] = [];
      const { readLater } = RawFile.prototype;
      vi.spyOn(RawFile.prototype, 'readLater').mockImplementation(async function (this: RawFile, at, target) {
        const count = await readLater.call(this, at, target);
        // The write has the rest of the block as it was, and holds it.
        under.push(storage[what]?.(1024, 512, true));
        return count;
      });
      await storage.write(0, pattern(512, 7));
      await Promise.all(under);
      await storage.close();
      const expected = pattern(8192);
      expected.set(pattern(512, 7));
      expected.fill(0, 1024, 1536);
      expect(under).not.toEqual([]);
      expect(isSame(readFileSync(path), expected)).toBe(true);
    },
  );

  it('refuses a file that is not whole blocks, and says what to do', async () => {
    const path = image(pattern(4096 + 512));
    const file = RawFile.open(path, { readOnly: false, direct: true });
    const transfers = new DirectTransfers(file, 4096);
    expect(() => transfers.checkSize(4608)).toThrow(
      expect.objectContaining({ code: 'BAD_IMAGE', message: expect.stringContaining('truncate -s 8192') }),
    );
    const all = new Uint8Array(8192);
    expect(await transfers.read(0, all)).toBe(4608);
    await file.close();
  });

  it.runIf(existsSync(indirect))('is refused where the file system has no direct I/O', async () => {
    const refused = openFileStorage(indirect, { readOnly: true, direct: true });
    await expect(refused).rejects.toMatchObject({
      code: 'IO_ERROR',
      message: `${indirect} is where no direct I/O can be had: open it without \`direct\``,
    });
  });
});
