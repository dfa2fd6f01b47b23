import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostError } from 'virtio/errors';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { unpackPackages } from './apt-world.ts';
import { makeArchive } from './archive.fixture.ts';
import { type DebianOptions, findKernel, withDebian } from './debian.ts';
import type { ProgressEvent } from './progress.ts';

let folder: string;
let pool: string;
let options: DebianOptions;
let events: ProgressEvent[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-debian-'));
  const archive = await makeArchive(folder, [
    {
      name: 'linux-image-686',
      depends: 'initramfs-tools | dracut, linux-image-6.1.0-50-686 (= 6.1)',
      content: 'meta',
    },
    { name: 'linux-image-6.1.0-50-686', content: 'kernel' },
    { name: 'linux-source', depends: 'linux-source-7.2 (= 7.2)', content: 'meta' },
    { name: 'linux-source-7.2', content: 'source' },
    { name: 'busybox-static', content: 'busybox' },
  ]);
  ({ pool } = archive);
  events = [];
  options = {
    cache: join(folder, 'cache'),
    suite: 'bookworm',
    architecture: 'i386',
    etc: archive.etc,
    progress: (event) => events.push(event),
  };
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

function fetchBusybox(): Promise<string> {
  return withDebian(options, async (world) => {
    const [file] = await world.fetch(await world.find(['busybox-static']));
    if (file === undefined) throw new Error('nothing fetched');
    return file;
  });
}

async function errorOf(promise: Promise<unknown>): Promise<HostError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof HostError)) throw new Error('no HostError', { cause: error });
  return error;
}

test('a package of another suite and processor is fetched, checked and unpacked', async () => {
  const file = await fetchBusybox();
  const tree = join(folder, 'tree');
  await unpackPackages([file], tree);
  expect(await readFile(join(tree, 'usr/share/busybox-static'), 'utf8')).toBe('busybox');
  expect(events.map(({ step }) => step)).toEqual(expect.arrayContaining(['index', 'download']));
});

test('a metapackage leads to the kernel it stands for', async () => {
  const kernel = await withDebian(options, (world) => findKernel(world, 'linux-image-686'));
  expect(kernel).toMatchObject({
    name: 'linux-image-6.1.0-50-686',
    version: '1:2.0-1',
    architecture: 'i386',
  });
  const source = await withDebian(options, (world) => findKernel(world, 'linux-source'));
  expect(source.name).toBe('linux-source-7.2');
});

test('what is kept is used again, with no word about it', async () => {
  const first = await fetchBusybox();
  events.length = 0;
  await rm(pool, { recursive: true });
  expect(await fetchBusybox()).toBe(first);
  expect(events).toEqual([]);
});

test('a kept file that was damaged is fetched again', async () => {
  const file = await fetchBusybox();
  const good = await readFile(file);
  await appendFile(file, 'x');
  expect(await fetchBusybox()).toBe(file);
  expect(await readFile(file)).toEqual(good);
});

test('a file that is not what the index says is refused, and nothing of it is kept', async () => {
  const [name = ''] = (await readdir(pool)).filter((one) => one.startsWith('busybox'));
  await writeFile(join(pool, name), (await readFile(join(pool, name))).fill(0, 100, 101));
  const error = await errorOf(fetchBusybox());
  expect(['CHECKSUM_MISMATCH', 'DOWNLOAD_FAILED']).toContain(error.code);
  expect(await readdir(join(options.cache, 'archives'))).toEqual([]);
});

test('two at once both get the whole file', async () => {
  const [one, other] = await Promise.all([fetchBusybox(), fetchBusybox()]);
  expect(one).toBe(other);
  expect((await readdir(join(options.cache, 'archives'))).length).toBe(1);
});

test('a package that is nowhere is named, with the way on', async () => {
  const error = await errorOf(withDebian(options, (world) => world.find(['busybox-static', 'no-such'])));
  expect(error.code).toBe('DOWNLOAD_FAILED');
  expect(error.message).toMatch(/apt finds no no-such/);
  expect(error.message).toMatch(/virtio run --kernel FILE --initrd FILE/);
});

test('without apt the message says how to hand over a kernel', async () => {
  vi.stubEnv('PATH', folder);
  const error = await errorOf(fetchBusybox());
  expect(error.code).toBe('MISSING_TOOL');
  expect(error.message).toMatch(/virtio run --kernel FILE --initrd FILE/);
});

test('a machine whose sources name no Debian is told so', async () => {
  await writeFile(join(folder, 'etc', 'os-release'), 'ID=ubuntu\nVERSION_CODENAME=jammy\n');
  const error = await errorOf(fetchBusybox());
  expect(error.code).toBe('NOT_FOUND');
  expect(error.message).toMatch(/VIRTIO_DEBIAN_MIRROR.*virtio run --kernel FILE --initrd FILE/);
});
