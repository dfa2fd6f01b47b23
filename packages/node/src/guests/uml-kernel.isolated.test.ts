import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { builtUmlKernel } from './uml-kernel.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-kernel-'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

// That it is built, boots and drives our devices is shown by guests/uml-devices.test.ts.
test('without apt the message says what lacks and what for, and nothing is left', async () => {
  vi.stubEnv('PATH', folder);
  await expect(builtUmlKernel({ cache: folder })).rejects.toMatchObject({
    code: 'MISSING_TOOL',
    message: expect.stringMatching(/lacks apt.*the source of user-mode Linux/),
  });
  expect(await readdir(folder)).toEqual([]);
});
