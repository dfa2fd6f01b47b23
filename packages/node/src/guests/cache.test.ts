import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { cacheFolder, fileHash, publishFolder, withLock } from './cache.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-cache-'));
});
afterEach(() => rm(folder, { recursive: true }));

test('the cache is where the user says', () => {
  expect(cacheFolder({ VIRTIO_CACHE: '/a', XDG_CACHE_HOME: '/b' })).toBe('/a');
  expect(cacheFolder({ XDG_CACHE_HOME: '/b' })).toBe('/b/virtio-ts');
  expect(cacheFolder({ XDG_CACHE_HOME: 'relative' })).toMatch(/\/\.cache\/virtio-ts$/);
});

test('a folder that could not be filled is not there, and the one before it stays', async () => {
  const target = join(folder, 'guest');
  await publishFolder(target, (into) => writeFile(join(into, 'file'), 'first'));
  const failing = publishFolder(target, async (into) => {
    await writeFile(join(into, 'file'), 'half');
    throw new Error('disk full');
  });
  await expect(failing).rejects.toThrow('disk full');
  expect(await readFile(join(target, 'file'), 'utf8')).toBe('first');
  expect(await readdir(folder)).toEqual(['guest']);
});

test('a folder takes the place of the one before it, and leftovers of a killed process go', async () => {
  const target = join(folder, 'guest');
  await publishFolder(target, (into) => writeFile(join(into, 'old'), ''));
  await writeFile(join(folder, '.guest.0123'), 'left over');
  await publishFolder(target, (into) => writeFile(join(into, 'new'), ''));
  expect(await readdir(target)).toEqual(['new']);
  expect(await readdir(folder)).toEqual(['guest']);
});

test('bodies of one lock run one after the other', async () => {
  const steps: string[] = [];
  const body = (name: string) => async (): Promise<void> => {
    steps.push(`${name} in`);
    await new Promise((resolve) => setImmediate(resolve));
    steps.push(`${name} out`);
  };
  await Promise.all(['a', 'b', 'c'].map((name) => withLock(join(folder, 'lock'), body(name))));
  for (let at = 0; at < 6; at += 2) expect(steps[at]?.[0]).toBe(steps[at + 1]?.[0]);
});

test('a lock whose process was killed is free', async () => {
  const lock = join(folder, 'lock');
  const holder = spawn('flock', [lock, 'sh', '-c', 'echo held && exec cat'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  const waiting = withLock(lock, async () => 'mine');
  holder.stdin.destroy();
  expect(await waiting).toBe('mine');
});

test('the hash of a file that is not there is undefined', async () => {
  expect(await fileHash(join(folder, 'none'))).toBeUndefined();
  await writeFile(join(folder, 'empty'), '');
  expect(await fileHash(join(folder, 'empty'))).toMatch(/^e3b0c442/);
});
