import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { VirtioError } from 'virtio/errors';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RawFile } from '../raw-file.ts';
import { createQcow2 } from './create.ts';
import { headerField } from './header-fields.ts';
import { openQcow2 } from './open.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtio-qcow2-'));
  path = join(folder, 'disk.qcow2');
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const size = 2 ** 20;

/** An image with some data, and how it is laid out. */
async function image(): Promise<{ readonly bytes: Buffer; readonly l1: number; readonly l2: number }> {
  rmSync(path, { force: true });
  await createQcow2(path, { size, clusterSize: 4096 });
  const disk = await openQcow2(path);
  for (let at = 0; at < size; at += 65_536) disk.write(at, new Uint8Array(8192).fill(at >> 16));
  await disk.close();
  const bytes = readFileSync(path);
  const l1 = Number(bytes.readBigUInt64BE(headerField.l1_table_offset));
  return { bytes, l1, l2: Number(bytes.readBigUInt64BE(l1) & 0x00ff_ffff_ffff_fe00n) };
}

const refused = (message: RegExp): object => ({ code: 'BAD_IMAGE', message: expect.stringMatching(message) });

describe('createQcow2', () => {
  it('makes an image that takes next to no room', async () => {
    await createQcow2(path, { size: 2 ** 40 });
    expect(statSync(path).size).toBeLessThan(2 ** 20);
    const disk = await openQcow2(path);
    expect(disk).toMatchObject({ size: 2 ** 40, readOnly: false, immediate: true, sparse: true });
    const bytes = new Uint8Array(512).fill(1);
    disk.read(2 ** 40 - 512, bytes);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    disk.write(2 ** 40 - 512, new Uint8Array(512).fill(7));
    disk.discard?.(0, 2 ** 40 - 65_536);
    await disk.close();
    expect(statSync(path).size).toBeLessThan(2 ** 20);
  });

  it('overwrites nothing, and makes nothing of what cannot be', async () => {
    await createQcow2(path, { size });
    await expect(createQcow2(path, { size })).rejects.toMatchObject({
      code: 'IN_USE',
      message: expect.stringContaining('there already'),
    });
    const other = join(folder, 'other');
    for (const options of [
      {},
      { size: 100 },
      { size, clusterSize: 1000 },
      { size: 2 ** 50, clusterSize: 512 },
    ]) {
      await expect(createQcow2(other, options)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    }
    const backing = { path: 'nothing', format: 'raw' } as const;
    await expect(createQcow2(other, { backing })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(() => statSync(other)).toThrow();
  });
});

describe('the lock', () => {
  it('keeps a second writer away, and any from what lies beneath', async () => {
    const base = join(folder, 'base');
    await createQcow2(base, { size });
    await createQcow2(path, { backing: { path: 'base', format: 'qcow2' } });
    const disk = await openQcow2(path);
    await expect(openQcow2(path)).rejects.toMatchObject({ code: 'IN_USE' });
    await expect(openQcow2(base)).rejects.toMatchObject({ code: 'IN_USE' });
    await (await openQcow2(base, { readOnly: true })).close();
    await disk.close();
    await (await openQcow2(base)).close();
  });
});

it('does nothing once it is closed, nor when it is open for reading only', async () => {
  await image();
  const disk = await openQcow2(path);
  await disk.close();
  const closed = expect.objectContaining({ code: 'IO_ERROR', message: expect.stringContaining('is closed') });
  expect(() => disk.read(0, new Uint8Array(512))).toThrow(closed);
  expect(() => disk.write(0, new Uint8Array(512))).toThrow(closed);
  const reader = await openQcow2(path, { readOnly: true });
  expect(() => reader.discard?.(0, size)).toThrow(expect.objectContaining({ code: 'BAD_STATE' }));
  await reader.flush();
  await reader.close();
});

describe('a file that is cut while it is in use', () => {
  it('is missed where the image had something: that is not 0 because it is gone', async () => {
    const { bytes, l2 } = await image();
    const disk = await openQcow2(path);
    truncateSync(path, bytes.length - 4096);
    const cut = expect.objectContaining(refused(/was cut/));
    const last = new Uint8Array(8192);
    expect(() => disk.read(size - 65_536, last)).toThrow(cut);
    // What is there can be read; nothing is written any more.
    disk.read(0, last);
    expect(() => disk.write(0, last)).toThrow(cut);
    await disk.close();
    writeFileSync(path, bytes);
    const other = await openQcow2(path);
    truncateSync(path, l2);
    expect(() => other.read(0, last)).toThrow(cut);
    await other.close();
  });

  it('is missed beneath an image too', async () => {
    const base = join(folder, 'base');
    writeFileSync(base, new Uint8Array(size - 100).fill(1));
    await createQcow2(path, { backing: { path: 'base', format: 'raw' } });
    const disk = await openQcow2(path);
    const bytes = new Uint8Array(4096);
    disk.read(size - 4096, bytes);
    expect(bytes.indexOf(0)).toBe(3996);
    truncateSync(base, size - 512);
    expect(() => disk.read(size - 4096, bytes)).toThrow(
      expect.objectContaining(refused(/base ends at byte/)),
    );
    disk.read(0, bytes);
    await disk.close();
  });
});

describe('an image that a stranger made', () => {
  it.each<[string, (bytes: Buffer) => void, RegExp]>([
    ['another magic', (b) => b.writeUInt32BE(1, 0), /no qcow2 image/],
    ['version 1', (b) => b.writeUInt32BE(1, headerField.version), /version 1/],
    ['clusters of 256 bytes', (b) => b.writeUInt32BE(8, headerField.cluster_bits), /2\^8/],
    ['clusters of 4 GiB', (b) => b.writeUInt32BE(32, headerField.cluster_bits), /2\^32/],
    ['AES', (b) => b.writeUInt32BE(1, headerField.crypt_method), /encrypted \(AES\)/],
    ['no bytes', (b) => b.writeBigUInt64BE(0n, headerField.size), /0 bytes/],
    ['more bytes than L1 has entries for', (b) => b.writeBigUInt64BE(2n ** 40n, headerField.size), /too few/],
    ['more bytes than can be', (b) => b.writeBigUInt64BE(2n ** 63n, headerField.size), /2\^53/],
    ['counts of 128 bits', (b) => b.writeUInt32BE(7, headerField.refcount_order), /2\^7/],
    ['a header that does not end', (b) => b.writeUInt32BE(2 ** 20, headerField.header_length), /header of/],
    ['a header that is too short', (b) => b.writeUInt32BE(96, headerField.header_length), /header of/],
    ['an unknown feature', (b) => b.writeUInt8(0x80, headerField.incompatible_features + 6), /bit 15/],
    ['an unknown compression', (b) => b.writeUInt8(8, headerField.incompatible_features + 7), /compressed/],
    ['L1 beyond its end', (b) => b.writeBigUInt64BE(2n ** 30n, headerField.l1_table_offset), /L1 table/],
    ['L1 on the header', (b) => b.writeBigUInt64BE(0n, headerField.l1_table_offset), /lies on its header/],
    ['L1 between clusters', (b) => b.writeBigUInt64BE(512n, headerField.l1_table_offset), /no cluster/],
    ['L1 of 4 billion entries', (b) => b.writeUInt32BE(2 ** 32 - 1, headerField.l1_size), /up to/],
    [
      'a refcount table on L1',
      (b) =>
        b.copy(
          b,
          headerField.refcount_table_offset,
          headerField.l1_table_offset,
          headerField.l1_table_offset + 8,
        ),
      /lies on its L1/,
    ],
    [
      'no refcount table',
      (b) => b.writeUInt32BE(0, headerField.refcount_table_clusters),
      /no refcount table/,
    ],
    ['4 billion snapshots', (b) => b.writeUInt32BE(2 ** 32 - 1, headerField.nb_snapshots), /snapshots/],
    [
      'a backing file name outside',
      (b) => {
        b.writeBigUInt64BE(5000n, headerField.backing_file_offset);
        b.writeUInt32BE(10, headerField.backing_file_size);
      },
      /backing file/,
    ],
    [
      'a backing file that a terminal would obey',
      (b) => {
        b.write('\x1b[2J', 1024);
        b.writeBigUInt64BE(1024n, headerField.backing_file_offset);
        b.writeUInt32BE(4, headerField.backing_file_size);
      },
      /no text/,
    ],
    [
      'a feature whose name a terminal would obey',
      (b) => {
        b.writeUInt32BE(0x6803_f857, 104);
        b.writeUInt32BE(48, 108);
        b[113] = 9;
        b.write('new\x1b[2J', 114);
        b.writeBigUInt64BE(1n << 9n, headerField.incompatible_features);
      },
      /needs what is not there: new \[2J$/,
    ],
    ['an extension without end', (b) => b.writeBigUInt64BE(0x1234_5678_ffff_ffffn, 104), /extension/],
  ])('with %s is refused', async (_what, spoil, message) => {
    const { bytes } = await image();
    spoil(bytes);
    writeFileSync(path, bytes);
    await expect(openQcow2(path)).rejects.toMatchObject(refused(message));
    expect(readFileSync(path).equals(bytes)).toBe(true);
  });

  it('with an L2 table outside, on the header, or twice is refused', async () => {
    const { bytes, l1, l2 } = await image();
    for (const [entry, message] of [
      [BigInt(2 ** 30), /L2 table is said to be at/],
      [BigInt(l2 + 512), /L2 table is said to be at/],
      [BigInt(l1), /L2 table at \d+ lies on its L1 table/],
    ] as const) {
      bytes.writeBigUInt64BE(entry, l1);
      writeFileSync(path, bytes);
      await expect(openQcow2(path)).rejects.toMatchObject(refused(message));
    }
  });

  it.each(['header', 'L1 table', 'refcount block'])(
    'never has its %s overwritten by the guest: the write fails, and the image is marked',
    async (what) => {
      const { bytes, l1, l2 } = await image();
      const blocks = Number(bytes.readBigUInt64BE(headerField.refcount_table_offset));
      const place =
        { header: 0, 'L1 table': l1, 'refcount block': Number(bytes.readBigUInt64BE(blocks)) }[what] ?? 0;
      // The header at place 0 can only be referred to as if it were compressed.
      const entry = place === 0 ? 0x4000_0000_0000_0010n : BigInt(place) | 0x8000_0000_0000_0000n;
      bytes.writeBigUInt64BE(entry, l2);
      writeFileSync(path, bytes);
      const disk = await openQcow2(path);
      const damaged = expect.objectContaining(refused(new RegExp(`lies on its ${what}`)));
      expect(() => disk.discard?.(0, 4096)).toThrow(damaged);
      expect(() => disk.write(4096, new Uint8Array(512))).toThrow(damaged);
      await expect(disk.flush()).rejects.toEqual(damaged);
      disk.read(4096, new Uint8Array(512));
      await disk.close().catch(() => {});
      const after = readFileSync(path);
      expect(after[headerField.incompatible_features + 7]).toBe(2);
      after[headerField.incompatible_features + 7] = 0;
      expect(after.equals(bytes)).toBe(true);
    },
  );

  it('with snapshots that share a table again and again keeps nobody busy who counts its clusters', async () => {
    const { bytes, l2 } = await image();
    const [tables, list] = [bytes.length, bytes.length + 4096];
    const spoiled = Buffer.concat([bytes, Buffer.alloc(8192)]);
    for (let entry = 0; entry < 512; entry++) spoiled.writeBigUInt64BE(BigInt(l2), tables + entry * 8);
    spoiled.writeBigUInt64BE(BigInt(tables), list);
    spoiled.writeUInt32BE(512, list + 8);
    spoiled.writeUInt32BE(16, list + 36); // extra data
    spoiled.writeUInt32BE(1, headerField.nb_snapshots);
    spoiled.writeBigUInt64BE(BigInt(list), headerField.snapshots_offset);
    spoiled[headerField.incompatible_features + 7] = 1; // dirty
    writeFileSync(path, spoiled);
    const read = vi.spyOn(RawFile.prototype, 'read');
    const disk = await openQcow2(path);
    expect(read.mock.calls.filter(([offset]) => offset === l2)).toHaveLength(1);
    // All is counted, so what the snapshot shares is copied.
    disk.write(0, new Uint8Array(4096).fill(9));
    await disk.close();
    expect(
      readFileSync(path)
        .subarray(l2, l2 + 4096)
        .equals(bytes.subarray(l2, l2 + 4096)),
    ).toBe(true);
  });

  it('with garbage for a compressed cluster fails where that is read, and nowhere else', async () => {
    const { bytes, l2 } = await image();
    bytes.writeBigUInt64BE(0x4000_0000_0000_0000n | BigInt(l2), l2);
    writeFileSync(path, bytes);
    const disk = await openQcow2(path, { readOnly: true });
    expect(() => disk.read(0, new Uint8Array(512))).toThrow(expect.objectContaining(refused(/zlib/)));
    const fine = new Uint8Array(512);
    disk.read(65_536, fine);
    expect(fine.every((byte) => byte === 1)).toBe(true);
    await disk.close();
  });

  it('with any bytes wrong, or cut anywhere, never does more than fail', async () => {
    const { bytes } = await image();
    const spoiled = join(folder, 'spoiled');
    const change = fc.record({ at: fc.oneof(fc.nat(160), fc.nat(bytes.length - 1)), byte: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { minLength: 1, maxLength: 6 }),
        fc.option(fc.nat(bytes.length), { freq: 4 }),
        async (changes, cut) => {
          copyFileSync(path, spoiled);
          const copy = Buffer.from(bytes);
          for (const { at, byte } of changes) copy[at] = byte;
          writeFileSync(spoiled, copy);
          if (cut !== null) truncateSync(spoiled, cut);
          const attempt = async (work: () => void | Promise<void>): Promise<void> => {
            try {
              await work();
            } catch (error) {
              expect(error).toBeInstanceOf(VirtioError);
            }
          };
          await attempt(async () => {
            const disk = await openQcow2(spoiled, { followBacking: false });
            const target = new Uint8Array(4096);
            for (let at = 0; at + 4096 <= Math.min(disk.size, size); at += 4096) {
              await attempt(() => disk.read(at, target));
              await attempt(() => disk.write(at, target));
            }
            await attempt(() => disk.discard?.(0, Math.min(disk.size, size)));
            await attempt(() => disk.flush());
            await attempt(() => disk.close());
          });
          // However large it says that it is, no more is made of it than was written.
          expect(statSync(spoiled).size).toBeLessThan(64 * size);
        },
      ),
      { numRuns: 150 },
    );
  }, 60_000);
});
