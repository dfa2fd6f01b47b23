import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { withInterpreter } from './elf-interpreter.ts';

const run = promisify(execFile);
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-elf-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** Path of the dynamic linker that loaded us. */
async function ownLinker(): Promise<string> {
  const maps = await readFile('/proc/self/maps', 'utf8');
  const path = /\S*\/ld-linux\S*$/m.exec(maps)?.[0];
  if (path === undefined) throw new Error('this program has no dynamic linker');
  return path;
}

test('a program is loaded by the linker that it is given', async () => {
  const linker = join(folder, 'a-linker-with-a-rather-long-name.so');
  await copyFile(await ownLinker(), linker);
  const program = join(folder, 'program');
  await writeFile(program, withInterpreter(await readFile('/bin/cat'), linker), { mode: 0o755 });
  const { stdout } = await run(program, ['/proc/self/maps']);
  expect(stdout).toContain(linker);
});

test.each([
  ['a text', new TextEncoder().encode('#!/bin/sh\n'.repeat(20))],
  ['nothing', new Uint8Array()],
  ['a header alone', Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, ...new Uint8Array(100))],
])('what is no such program is refused: %s', (_, bytes) => {
  expect(() => withInterpreter(bytes, '/lib/x')).toThrow(expect.objectContaining({ code: 'BAD_IMAGE' }));
});
