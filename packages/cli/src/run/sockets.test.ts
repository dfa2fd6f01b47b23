import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { exitStatus } from '../exit-status.ts';
import { openSockets } from './sockets.ts';

it('opens sockets where they can be, and says what is in the way elsewhere', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'virtio-sockets-'));
  const path = join(folder, 'v');
  expect(await openSockets(undefined)).toBeUndefined();
  const sockets = await openSockets(path);
  expect(sockets?.device.guestCid).toBe(3);
  await writeFile(join(folder, 'file'), '');
  for (const [at, why] of [
    [path, /--vsock .*v is in use/],
    [join(folder, 'file'), /is no socket/],
    [join(folder, 'no', 'v'), /no such folder/],
    [join(folder, 'x'.repeat(100)), /longer than 92 bytes/],
  ] as const) {
    await expect(openSockets(at)).rejects.toMatchObject({
      status: exitStatus.usage,
      message: expect.stringMatching(why),
    });
  }
  await sockets?.close();
  await rm(folder, { recursive: true });
});
