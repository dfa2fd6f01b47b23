import { copyFile, mkdtemp, readdir, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { cacheFolder, type GuestFiles, guestFiles, type ProgressEvent } from 'virtio-node/guests';
import { afterAll, beforeAll, expect, test } from 'vitest';

let cache: string;
let guest: GuestFiles;

beforeAll(async () => {
  await guestFiles();
  // A cache that knows the packages already but has built nothing of them.
  cache = await mkdtemp(join(tmpdir(), 'virtio-guest-'));
  for (const name of ['archives', 'debian']) await symlink(join(cacheFolder(), name), join(cache, name));
  const [one, other] = await Promise.all([guestFiles({ cache }), guestFiles({ cache })]);
  expect(one).toEqual(other);
  guest = one;
});
afterAll(() => rm(cache, { recursive: true }));

test('the same packages give the same guest', async () => {
  const elsewhere = await guestFiles();
  expect(elsewhere.checksums).toEqual(guest.checksums);
  expect(elsewhere.id).toBe(guest.id);
});

test('a guest that is there is answered with no word about it', async () => {
  const events: ProgressEvent[] = [];
  expect(await guestFiles({ cache, progress: (event) => events.push(event) })).toEqual(guest);
  expect(events).toEqual([]);
});

test.each<[string, (files: GuestFiles) => Promise<void>]>([
  ['an initramfs cut short', (files) => truncate(files.initrd, 1000)],
  ['a kernel of another kind', (files) => copyFile(files.bios, files.bzimage)],
  ['a file that is gone', (files) => rm(files.vgaBios)],
  ['a record half written', (files) => writeFile(join(dirname(files.bzimage), 'guest.json'), '{"record":')],
])('damage heals: %s', async (_damage, harm) => {
  await harm(guest);
  const events: ProgressEvent[] = [];
  expect(await guestFiles({ cache, progress: (event) => events.push(event) })).toEqual(guest);
  expect(events.map(({ step }) => step)).toEqual(['unpack', 'build']);
  expect(await readdir(join(cache, 'guests'))).toHaveLength(1);
});

test('more modules make another guest', async () => {
  const richer = await guestFiles({ cache, modules: ['virtio_balloon'] });
  expect(richer.id).not.toBe(guest.id);
  expect(richer.checksums.bzimage).toBe(guest.checksums.bzimage);
});
