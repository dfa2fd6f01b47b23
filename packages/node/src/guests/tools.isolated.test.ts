import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ensureTool } from './tools.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-tools-'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

async function program(content: string): Promise<void> {
  await writeFile(join(folder, 'mke2fs'), content);
  await chmod(join(folder, 'mke2fs'), 0o755);
}

test('a tool that is here is used as it is', async () => {
  await program('#!/bin/sh\nexit 0\n');
  expect(await ensureTool('e2fsprogs', { path: [folder], cache: folder })).toEqual({
    file: join(folder, 'mke2fs'),
    folder,
    environment: {},
  });
});

test('a tool that does not start is not taken, and without apt the message says what lacks', async () => {
  await program('#!/bin/sh\nexit 1\n');
  vi.stubEnv('PATH', folder);
  await expect(ensureTool('e2fsprogs', { path: [folder], cache: folder })).rejects.toMatchObject({
    code: 'MISSING_TOOL',
    message: expect.stringContaining('e2fsprogs'),
  });
});
