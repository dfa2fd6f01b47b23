import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { packagedPrograms } from './packaged-programs.ts';

let tree: string;
beforeEach(async () => {
  tree = await mkdtemp(join(tmpdir(), 'virtio-programs-'));
});
afterEach(() => rm(tree, { recursive: true }));

async function put(path: string, mode = 0o644): Promise<void> {
  const file = join(tree, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, path);
  await chmod(file, mode);
}

it('takes programs and libraries, their modes and links, and nothing else of packages', async () => {
  await put('usr/bin/socat', 0o755);
  await put('bin/busybox', 0o755);
  await put('lib/i386-linux-gnu/libc.so.6', 0o755);
  await put('usr/lib/i386-linux-gnu/libssl.so.3');
  await put('usr/lib/i386-linux-gnu/gconv/UTF-16.so');
  await put('usr/share/doc/socat/copyright');
  await put('etc/socat.conf');
  await symlink('i386-linux-gnu/ld-linux.so.2', join(tree, 'lib/ld-linux.so.2'));
  await put('usr/lib64/ld-linux-x86-64.so.2', 0o755);
  await symlink('libssl.so.3', join(tree, 'usr/lib/i386-linux-gnu/libssl.so'));
  const entries = await packagedPrograms(tree, ['bin', 'lib', 'usr', 'bin/busybox']);
  const shown = entries.map((entry) => {
    if (entry.type === 'symlink') return `${entry.path} -> ${entry.target}`;
    return entry.type === 'file' ? `${entry.path} ${(entry.mode ?? 0).toString(8)}` : `${entry.path}/`;
  });
  expect(shown).toEqual([
    'lib/i386-linux-gnu/',
    'lib/i386-linux-gnu/libc.so.6 755',
    'lib/ld-linux.so.2 -> i386-linux-gnu/ld-linux.so.2',
    'usr/bin/',
    'usr/bin/socat 755',
    'usr/lib/',
    'usr/lib/i386-linux-gnu/',
    'usr/lib/i386-linux-gnu/libssl.so -> libssl.so.3',
    'usr/lib/i386-linux-gnu/libssl.so.3 644',
    'usr/lib64/',
    'usr/lib64/ld-linux-x86-64.so.2 755',
    'lib64/',
    'lib64/ld-linux-x86-64.so.2 -> /usr/lib64/ld-linux-x86-64.so.2',
  ]);
});
