import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { moduleInfo, modulesDep, readModules } from './kernel-modules.ts';

let folder: string;

/** A file with a .modinfo as a module has it: texts that end in zero bytes, between other things. */
function module(...info: string[]): Buffer {
  return Buffer.concat([
    Buffer.from('\x7fELF\0'),
    Buffer.from(info.map((text) => `${text}\0`).join('')),
    Buffer.from('end'),
  ]);
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-modules-'));
  const files = {
    'kernel/fs/ext4/ext4.ko': module('license=GPL', 'depends=jbd2,mbcache', 'name=ext4'),
    'kernel/fs/jbd2/jbd2.ko': module('depends=mbcache'),
    'kernel/fs/mbcache.ko': module('depends='),
    'kernel/drivers/char/hw_random/virtio-rng.ko': module('depends=virtio,rng-core'),
    'kernel/drivers/virtio/virtio.ko': module('depends='),
    'modules.builtin': 'kernel/drivers/char/hw_random/rng-core.ko\n',
  };
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
});
afterEach(() => rm(folder, { recursive: true }));

test('what a module needs comes before it, once, and what is built in is left out', async () => {
  const modules = await readModules(folder, ['virtio_rng', 'ext4', 'virtio', 'rng_core']);
  expect(modules.map(({ name }) => name)).toEqual(['virtio', 'virtio_rng', 'mbcache', 'jbd2', 'ext4']);
});

test('modules.dep names whole closures, the first to be inserted last', async () => {
  expect(modulesDep(await readModules(folder, ['ext4', 'virtio-rng']))).toBe(
    [
      'kernel/fs/mbcache.ko:',
      'kernel/fs/jbd2/jbd2.ko: kernel/fs/mbcache.ko',
      'kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/fs/mbcache.ko',
      'kernel/drivers/virtio/virtio.ko:',
      'kernel/drivers/char/hw_random/virtio-rng.ko: kernel/drivers/virtio/virtio.ko',
      '',
    ].join('\n'),
  );
});

test('a module that this kernel does not have is named', async () => {
  await expect(readModules(folder, ['virtio_sound'])).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringContaining('virtio_sound'),
  });
});

test('every value of a key is found', () => {
  expect(moduleInfo(module('alias=a', 'xalias=b', 'alias=c'), 'alias')).toEqual(['a', 'c']);
});
