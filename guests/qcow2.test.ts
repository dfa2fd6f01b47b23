import { execFile, spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { ensureTool, type Tool } from 'virtio-node/guests';
import { createQcow2, openNbd, openQcow2, type Qcow2Storage } from 'virtio-node/storage';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { sectors, stepOf } from './qcow2-steps.ts';

const run = promisify(execFile);
const mebibyte = 2 ** 20;

let tool: Tool;
let folder: string;
beforeAll(async () => {
  tool = await ensureTool('qemu-img');
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-qcow2-'));
});
afterEach(() => rm(folder, { recursive: true }));

const at = (name: string): string => join(folder, name);

/** Runs one of QEMU's programs in the folder; it has to succeed. */
async function qemu(program: 'qemu-img' | 'qemu-io', ...args: string[]): Promise<string> {
  const env = { ...process.env, ...tool.environment };
  const { stdout } = await run(join(tool.folder, program), args, { env, cwd: folder });
  return stdout;
}

const io = (image: string, ...commands: string[]): Promise<string> =>
  qemu('qemu-io', ...commands.flatMap((command) => ['-c', command]), '-f', 'qcow2', image);

/** QEMU finds nothing to object to: no cluster lost, none leaked, no flag wrong. */
async function checked(image: string): Promise<void> {
  expect(await qemu('qemu-img', 'check', '-f', 'qcow2', image)).toContain('No errors were found');
}

/** QEMU reads the same from both. */
async function compared(image: string, raw: string): Promise<void> {
  const said = await qemu('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', image, raw);
  expect(said).toContain('Images are identical');
}

function readAll(storage: Qcow2Storage): Buffer {
  const bytes = Buffer.alloc(storage.size);
  storage.read(0, bytes);
  return bytes;
}

/** Bytes that compress, none of them alike. */
const prose = (length: number, seed = 0): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => ((i >> 6) * 31 + (i & 7) + seed + (i >> 12)) & 0xff));

describe.each([
  ['version 2', 'compat=0.10'],
  ['version 3', 'compat=1.1'],
  ['clusters of 512 bytes', 'cluster_size=512'],
  ['clusters of 2 MiB', 'cluster_size=2M'],
  ['counts of 1 bit', 'refcount_bits=1'],
  ['counts of 4 bits', 'refcount_bits=4'],
  ['counts of 64 bits', 'refcount_bits=64'],
  ['lazy counts', 'lazy_refcounts=on'],
  ['metadata that is there already', 'preallocation=metadata'],
])("QEMU's image: %s", (_what, options) => {
  it('is read, written, cleared, and sound for QEMU afterwards', async () => {
    const size = 12 * mebibyte;
    const model = prose(size);
    model.fill(0, 3 * mebibyte, 5 * mebibyte);
    await writeFile(at('raw'), model);
    await qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, 'disk', String(size));
    await qemu('qemu-img', 'convert', '-n', '-O', 'qcow2', '-f', 'raw', 'raw', 'disk');
    const disk = await openQcow2(at('disk'));
    expect(disk.size).toBe(size);
    expect(readAll(disk).equals(model)).toBe(true);
    for (const [from, length, value] of [
      [512, 1024, 1],
      [4 * mebibyte - 512, 70_144, 2],
      [size - 512, 512, 3],
    ] as const) {
      disk.write(from, new Uint8Array(length).fill(value));
      model.fill(value, from, from + length);
    }
    disk.writeZeroes?.(6 * mebibyte + 512, 2 * mebibyte, true);
    disk.writeZeroes?.(9 * mebibyte, mebibyte, false);
    model.fill(0, 6 * mebibyte + 512, 8 * mebibyte + 512).fill(0, 9 * mebibyte, 10 * mebibyte);
    await disk.flush();
    disk.discard?.(10 * mebibyte, mebibyte);
    disk.read(10 * mebibyte, model.subarray(10 * mebibyte, 11 * mebibyte));
    expect(readAll(disk).equals(model)).toBe(true);
    await disk.close();
    await checked('disk');
    await writeFile(at('raw'), model);
    await compared('disk', 'raw');
    await io('disk', 'write -P 77 9M 64k', 'discard 0 4M');
    await checked('disk');
    const again = await openQcow2(at('disk'), { readOnly: true });
    const written = Buffer.alloc(65_536);
    again.read(9 * mebibyte, written);
    expect(written.every((byte) => byte === 77)).toBe(true);
    await again.close();
  });
});

describe.each(['zlib', 'zstd'])('clusters compressed by QEMU with %s', (type) => {
  it.each(['4k', '64k', '2M'])('are read and overwritten, in clusters of %s', async (cluster) => {
    const size = 8 * mebibyte;
    const model = prose(size);
    // Some of it cannot be compressed.
    for (let i = 2 * mebibyte, x = 1; i < 3 * mebibyte; i++) {
      x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0;
      model[i] = x >>> 16;
    }
    await writeFile(at('raw'), model);
    const options = `cluster_size=${cluster},compression_type=${type}`;
    await qemu('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o', options, 'raw', 'disk');
    const disk = await openQcow2(at('disk'));
    expect(readAll(disk).equals(model)).toBe(true);
    for (let from = 512; from < size; from += 777 * 512) {
      disk.write(from, new Uint8Array(1024).fill(from >> 9));
      model.fill((from >> 9) & 0xff, from, from + 1024);
    }
    disk.writeZeroes?.(5 * mebibyte, 2 * mebibyte + 512, true);
    model.fill(0, 5 * mebibyte, 7 * mebibyte + 512);
    expect(readAll(disk).equals(model)).toBe(true);
    await disk.close();
    await checked('disk');
    await writeFile(at('raw'), model);
    await compared('disk', 'raw');
  });
});

describe('what lies beneath an image', () => {
  it('is found by names relative to each image, raw or qcow2, and is not touched', async () => {
    await mkdir(at('below'));
    // Not whole sectors, and shorter than what lies on it.
    await writeFile(at('below/base.img'), prose(3 * mebibyte + 100));
    const make = ['create', '-q', '-f', 'qcow2'];
    await qemu('qemu-img', ...make, '-F', 'raw', '-b', 'base.img', 'below/middle', '4M');
    await io('below/middle', 'write -P 5 1M 128k');
    await qemu(
      'qemu-img',
      ...make,
      '-o',
      'cluster_size=4k',
      '-F',
      'qcow2',
      '-b',
      'below/middle',
      'top',
      '6M',
    );
    const beneath = await readFile(at('below/middle'));
    await qemu('qemu-img', 'convert', '-O', 'raw', 'top', 'raw');
    const model = await readFile(at('raw'));
    const disk = await openQcow2(at('top'));
    expect(readAll(disk).equals(model)).toBe(true);
    disk.write(3 * mebibyte - 512, new Uint8Array(2048).fill(9));
    disk.writeZeroes?.(mebibyte + 512, 65_536, true);
    disk.discard?.(2 * mebibyte, 8192);
    model.fill(9, 3 * mebibyte - 512, 3 * mebibyte + 1536).fill(0, mebibyte + 512, mebibyte + 66_048);
    model.fill(0, 2 * mebibyte, 2 * mebibyte + 8192);
    expect(readAll(disk).equals(model)).toBe(true);
    await disk.close();
    await checked('top');
    await writeFile(at('raw'), model);
    await compared('top', 'raw');
    expect((await readFile(at('below/middle'))).equals(beneath)).toBe(true);
  });

  it('may be named by us: QEMU follows', async () => {
    await writeFile(at('base.img'), prose(mebibyte));
    await createQcow2(at('one'), { backing: { path: 'base.img', format: 'raw' } });
    await createQcow2(at('two'), {
      backing: { path: 'one', format: 'qcow2' },
      clusterSize: 4096,
      size: 2 * mebibyte,
    });
    const disk = await openQcow2(at('two'));
    disk.write(0, new Uint8Array(512).fill(1));
    await disk.close();
    for (const image of ['one', 'two']) await checked(image);
    const info: unknown = JSON.parse(await qemu('qemu-img', 'info', '--output=json', 'two'));
    expect(info).toMatchObject({
      'backing-filename': 'one',
      'backing-filename-format': 'qcow2',
      'cluster-size': 4096,
      'virtual-size': 2 * mebibyte,
    });
    await io('two', 'read -P 1 0 512', 'read -P 0 1M 1M');
    const map: unknown = JSON.parse(await qemu('qemu-img', 'map', '--output=json', '-f', 'qcow2', 'two'));
    expect(map).toEqual(
      expect.arrayContaining([expect.objectContaining({ start: 0, length: 4096, depth: 0, data: true })]),
    );
  });

  it('is refused where its format would have to be guessed, or it is no file', async () => {
    await writeFile(at('base.img'), prose(mebibyte));
    await qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', 'base.img', 'disk');
    const bytes = await readFile(at('disk'));
    const extension = bytes.indexOf(Buffer.from([0xe2, 0x79, 0x2a, 0xca]));
    bytes.writeUInt32BE(0x1234_5678, extension);
    await writeFile(at('unsaid'), bytes);
    await expect(openQcow2(at('unsaid'))).rejects.toMatchObject({
      code: 'BAD_IMAGE',
      message: expect.stringContaining('qemu-img rebase -u -F raw'),
    });
    const disk = await openQcow2(at('unsaid'), { backingFormat: 'raw' });
    expect(readAll(disk).equals(prose(mebibyte))).toBe(true);
    await disk.close();
    await qemu('qemu-img', 'rebase', '-u', '-F', 'raw', '-b', 'nbd://localhost/x', 'disk');
    await expect(openQcow2(at('disk'))).rejects.toMatchObject({ code: 'BAD_IMAGE' });
    await expect(openQcow2(at('unsaid'), { followBacking: false })).rejects.toMatchObject({
      code: 'BAD_IMAGE',
    });
  });

  it('is refused when it lies on itself', async () => {
    const make = ['create', '-q', '-f', 'qcow2', '-u', '-F', 'qcow2', '-b'];
    await qemu('qemu-img', ...make, 'two', 'one', '1M');
    await qemu('qemu-img', ...make, 'one', 'two', '1M');
    await expect(openQcow2(at('one'), { readOnly: true })).rejects.toMatchObject({
      code: 'BAD_IMAGE',
      message: expect.stringContaining('on itself'),
    });
  });
});

it('leaves internal snapshots as they were', async () => {
  const options = 'cluster_size=4k';
  await qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, 'disk', '8M');
  await io('disk', 'write -P 1 0 2M', 'write -P 2 5M 1M');
  await qemu('qemu-img', 'snapshot', '-c', 'first', 'disk');
  await io('disk', 'write -P 3 1M 64k');
  await qemu('qemu-img', 'snapshot', '-c', 'second', 'disk');
  const disk = await openQcow2(at('disk'));
  disk.write(mebibyte - 512, new Uint8Array(mebibyte).fill(4));
  disk.writeZeroes?.(5 * mebibyte, 300 * 1024, true);
  disk.discard?.(5 * mebibyte + 512 * 1024, 256 * 1024);
  await disk.flush();
  disk.write(7 * mebibyte, new Uint8Array(4096).fill(5));
  await disk.close();
  await checked('disk');
  await copyFile(at('disk'), at('copy'));
  await qemu('qemu-img', 'snapshot', '-a', 'first', 'copy');
  await io('copy', 'read -P 1 0 2M', 'read -P 2 5M 1M', 'read -P 0 6M 2M');
  await qemu('qemu-img', 'snapshot', '-a', 'second', 'disk');
  await io('disk', 'read -P 3 1M 64k', 'read -P 1 0 1M', 'read -P 2 5M 1M');
  await qemu('qemu-img', 'snapshot', '-d', 'first', 'disk');
  const again = await openQcow2(at('disk'));
  again.write(0, new Uint8Array(4096).fill(6));
  await again.close();
  await checked('disk');
});

it('makes counts right that QEMU left postponed when it died', async () => {
  await qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'lazy_refcounts=on', 'disk', '64M');
  await io('disk', 'write -P 3 10M 1M');
  for (const name of ['one', 'two']) await qemu('qemu-img', 'snapshot', '-c', name, 'disk');
  await expect(io('disk', 'write -P 1 0 5M', 'flush', 'abort')).rejects.toThrow();
  const isDirty = async (): Promise<number> => (await readFile(at('disk')))[79]! & 1;
  expect(await isDirty()).toBe(1);
  const reader = await openQcow2(at('disk'), { readOnly: true });
  expect(
    readAll(reader)
      .subarray(0, 5 * mebibyte)
      .every((byte) => byte === 1),
  ).toBe(true);
  await reader.close();
  expect(await isDirty()).toBe(1);
  const disk = await openQcow2(at('disk'));
  expect(await isDirty()).toBe(0);
  disk.write(6 * mebibyte, new Uint8Array(mebibyte).fill(2));
  await disk.close();
  await checked('disk');
  await io('disk', 'read -P 1 0 5M', 'read -P 2 6M 1M', 'read -P 3 10M 1M');
});

it('does not rely on bitmaps whose clusters it did not count', async () => {
  await qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'lazy_refcounts=on', 'disk', '8M');
  await qemu('qemu-img', 'bitmap', '--add', 'disk', 'changes');
  await expect(io('disk', 'write -P 1 0 1M', 'flush', 'abort')).rejects.toThrow();
  await (await openQcow2(at('disk'))).close();
  await checked('disk');
  await io('disk', 'read -P 1 0 1M');
});

it('clears bitmaps that it does not keep up', async () => {
  await qemu('qemu-img', 'create', '-q', '-f', 'qcow2', 'disk', '8M');
  await qemu('qemu-img', 'bitmap', '--add', 'disk', 'changes');
  const reader = await openQcow2(at('disk'), { readOnly: true });
  await reader.close();
  expect((await readFile(at('disk')))[95]).toBe(1);
  const disk = await openQcow2(at('disk'));
  disk.write(0, new Uint8Array(512).fill(1));
  await disk.close();
  expect((await readFile(at('disk')))[95]).toBe(0);
  await io('disk', 'read -P 1 0 512');
});

describe('what cannot be had is refused by its name', () => {
  it.each([
    ['extended L2 entries', 'extended_l2=on', 'extended L2 entries'],
    ['an external data file', 'data_file=data', 'external data file'],
    ['LUKS', 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10', 'encrypted (LUKS)'],
  ])('%s', async (_what, options, message) => {
    const secret = ['--object', 'secret,id=s,data=x'];
    await qemu('qemu-img', 'create', '-q', '-f', 'qcow2', ...secret, '-o', options, 'disk', '8M');
    const before = await readFile(at('disk'));
    await expect(openQcow2(at('disk'))).rejects.toMatchObject({
      code: 'BAD_IMAGE',
      message: expect.stringContaining(message),
    });
    expect((await readFile(at('disk'))).equals(before)).toBe(true);
  });

  it('an image that is marked as corrupt, but for reading', async () => {
    await createQcow2(at('disk'), { size: mebibyte });
    const bytes = await readFile(at('disk'));
    bytes[79] = 2;
    await writeFile(at('disk'), bytes);
    await expect(openQcow2(at('disk'))).rejects.toMatchObject({
      code: 'BAD_IMAGE',
      message: expect.stringContaining('marked as corrupt'),
    });
    await (await openQcow2(at('disk'), { readOnly: true })).close();
  });
});

it('is kept from QEMU while we write it, and from us while QEMU does', async () => {
  await createQcow2(at('base'), { size: 4 * mebibyte });
  await createQcow2(at('disk'), { backing: { path: 'base', format: 'qcow2' } });
  const disk = await openQcow2(at('disk'));
  await expect(io('disk', 'write 0 64k')).rejects.toMatchObject({ stderr: expect.stringMatching(/lock/) });
  await expect(qemu('qemu-img', 'info', 'disk')).rejects.toMatchObject({
    stderr: expect.stringMatching(/lock/),
  });
  await expect(io('base', 'write 0 64k')).rejects.toMatchObject({ stderr: expect.stringMatching(/lock/) });
  await qemu('qemu-img', 'info', 'base');
  await disk.close();
  await io('disk', 'write 0 64k');

  const socket = at('s');
  const env = { ...process.env, ...tool.environment };
  const args = ['-k', socket, '-t', '-f', 'qcow2', at('disk')];
  const server = spawn(join(tool.folder, 'qemu-nbd'), args, { env, stdio: 'inherit' });
  try {
    // It listens when it has opened its image.
    const uri = `nbd+unix:///?socket=${socket}`;
    await (await vi.waitFor(() => openNbd(uri), { timeout: 60_000, interval: 50 })).close();
    const inUse = { code: 'IN_USE', message: expect.stringContaining("QEMU's") };
    await expect(openQcow2(at('disk'))).rejects.toMatchObject(inUse);
    await expect(openQcow2(at('disk'), { readOnly: true })).rejects.toMatchObject(inUse);
    await expect(openQcow2(at('base'))).rejects.toMatchObject(inUse);
    await (await openQcow2(at('base'), { readOnly: true })).close();
  } finally {
    const ended = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGKILL');
    await ended;
  }
  await (await openQcow2(at('disk'))).close();
});

describe.each([
  ['clusters of 512 bytes', 'cluster_size=512'],
  ['version 2, beneath which something lies', 'cluster_size=4k,compat=0.10'],
])('whenever its program is killed: %s', (what, options) => {
  it('is sound for QEMU, and has what was flushed', async () => {
    const model = new Uint32Array(sectors);
    const backing: string[] = [];
    if (what.includes('beneath')) {
      const base = new Uint32Array(sectors * 64).fill(0xeeee_eeee);
      await writeFile(at('base'), new Uint8Array(base.buffer));
      model.fill(0xeeee_eeee, 0, sectors / 2);
      backing.push('-F', 'raw', '-b', 'base');
    }
    const make = ['create', '-q', '-f', 'qcow2', '-o', options, ...backing];
    await qemu('qemu-img', ...make, 'disk', String(sectors * 512));
    let flushed = 0;
    for (let death = 0; death < 4; death++) {
      const first = flushed + 1;
      flushed = await writeUntilKilled(first, 1 + 3 * death);
      // Leaks are no damage: -r leaks fails for what is.
      await qemu('qemu-img', 'check', '-q', '-r', 'leaks', '-f', 'qcow2', 'disk');
      await checked('disk');
      for (let n = first; n <= flushed; n++) {
        const { at, count, value } = stepOf(n);
        model.fill(value, at, at + count);
      }
      // What was not flushed may be there or not.
      const may = new Map<number, Set<number>>();
      for (let n = flushed + 1; n < flushed + 2000; n++) {
        const { at, count, value } = stepOf(n);
        for (let sector = at; sector < at + count; sector++) {
          const values = may.get(sector) ?? new Set();
          may.set(sector, values.add(value));
        }
      }
      const disk = await openQcow2(at('disk'), { readOnly: true });
      const found = new Uint32Array(sectors * 128);
      disk.read(0, new Uint8Array(found.buffer));
      await disk.close();
      for (const [sector, value] of model.entries()) {
        const words = found.subarray(sector * 128, (sector + 1) * 128);
        const [one = 0] = words;
        expect(words.every((word) => word === one)).toBe(true);
        if (one !== value) expect([...(may.get(sector) ?? [])], `sector ${sector}`).toContain(one);
        model[sector] = one;
      }
    }
  });

  /** Lets a program of its own write from a step on, until it has told of so many flushes; answers the last one. */
  async function writeUntilKilled(first: number, flushes: number): Promise<number> {
    const script = fileURLToPath(new URL('./qcow2-writer.ts', import.meta.url));
    const args = ['--conditions=source', '--import', 'tsx', script, at('disk'), String(first)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => child.once('close', resolve));
    let said = '';
    for await (const bytes of child.stdout) {
      said += bytes;
      if (said.split('\n').length > flushes) child.kill('SIGKILL');
    }
    await ended;
    return Number(said.trimEnd().split('\n').at(-1));
  }
});

/** What is done to a disk, in sectors, by us or by QEMU. */
const step = fc.record({
  what: fc.constantFrom('write', 'write', 'zero', 'unmap', 'discard'),
  by: fc.constantFrom('us', 'us', 'us', 'QEMU', 'QEMU, compressed', 'QEMU, in a new snapshot'),
  at: fc.nat(4095),
  count: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 900 })),
  value: fc.integer({ min: 1, max: 255 }),
});

it('and QEMU can take turns at one image, in any sequence', async () => {
  const size = 4096 * 512;
  const configuration = fc.record({
    cluster: fc.constantFrom('512', '4k', '64k'),
    made: fc.constantFrom(
      'compat=0.10',
      'compat=1.1',
      'refcount_bits=64',
      'lazy_refcounts=on',
      'compression_type=zstd',
    ),
    backed: fc.boolean(),
    ours: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(configuration, fc.array(step, { minLength: 3, maxLength: 25 }), async (how, steps) => {
      const base = prose(3000 * 512);
      await writeFile(at('base'), base);
      await rm(at('disk'), { force: true });
      const clusterSize = { '512': 512, '4k': 4096, '64k': 65_536 }[how.cluster] ?? 0;
      if (how.ours) {
        const backing = { path: 'base', format: 'raw' } as const;
        await createQcow2(at('disk'), { size, clusterSize, ...(how.backed ? { backing } : {}) });
      } else {
        const beneath = how.backed ? ['-F', 'raw', '-b', 'base'] : [];
        const options = `${how.made},cluster_size=${how.cluster}`;
        await qemu(
          'qemu-img',
          'create',
          '-q',
          '-f',
          'qcow2',
          '-o',
          options,
          ...beneath,
          'disk',
          String(size),
        );
      }
      const model = Buffer.alloc(size);
      if (how.backed) base.copy(model);
      let disk = await openQcow2(at('disk'));
      let theirs: string[] = [];
      const snapshots: Buffer[] = [];
      const handOver = async (): Promise<void> => {
        await disk.close();
        await checked('disk');
        await io('disk', ...theirs);
        await checked('disk');
        theirs = [];
        disk = await openQcow2(at('disk'));
      };
      for (const { what, by, at: sector, count, value } of steps) {
        let from = sector * 512;
        let length = Math.min(count * 512, size - from);
        if (by === 'QEMU, in a new snapshot') {
          await disk.close();
          await qemu('qemu-img', 'snapshot', '-c', `then${snapshots.length}`, 'disk');
          disk = await openQcow2(at('disk'));
          snapshots.push(Buffer.from(model));
        }
        if (by === 'QEMU, compressed' && what === 'write') {
          // A cluster at a time, all of it, and none that lies in the file as it is.
          length = clusterSize;
          from -= from % length;
          await disk.close();
          const command = `-P ${value} ${from} ${length}`;
          await io('disk', `write -c ${command}`).catch(() => io('disk', `write ${command}`));
          disk = await openQcow2(at('disk'));
        } else if (by.startsWith('QEMU')) {
          const command = {
            write: `write -P ${value}`,
            zero: 'write -z',
            unmap: 'write -zu',
            discard: 'discard',
          };
          theirs.push(`${command[what]} ${from} ${length}`);
          await handOver();
        } else if (what === 'write') disk.write(from, new Uint8Array(length).fill(value));
        else if (what === 'discard') disk.discard?.(from, length);
        else disk.writeZeroes?.(from, length, what === 'unmap');
        if (what === 'discard') disk.read(from, model.subarray(from, from + length));
        else model.fill(what === 'write' ? value : 0, from, from + length);
      }
      expect(readAll(disk).equals(model)).toBe(true);
      await disk.close();
      await checked('disk');
      await writeFile(at('raw'), model);
      await compared('disk', 'raw');
      for (const [name, then] of snapshots.entries()) {
        await qemu(
          'qemu-img',
          'convert',
          '-f',
          'qcow2',
          '-l',
          `then${name}`,
          '-O',
          'raw',
          'disk',
          'snapshot',
        );
        expect(then.equals(await readFile(at('snapshot')))).toBe(true);
      }
    }),
    { numRuns: 12 },
  );
});
