import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GuestSession, guestFiles, type NativeGuestOptions, serialPorts } from 'virtio-node/guests';
import { UmlMachine } from 'virtio-node/uml';
import { expect, test } from 'vitest';
import { nativeSuite } from './native-suite.ts';
import { allGone, descendants } from './processes.ts';

const start = async (options: NativeGuestOptions = {}): Promise<UmlMachine> =>
  UmlMachine.start({
    ...options,
    guest: await guestFiles({ machine: 'uml' }),
    ports: 2,
    append: serialPorts('ttyS0', 'ttyS1'),
  });

nativeSuite(start);

test('it starts itself anew, and is switched off, from inside', async () => {
  const guest = await start();
  const session = new GuestSession(guest);
  await session.ready();
  await session.text('touch /tmp/seen');
  await session.reboot();
  expect(await session.text('ls /tmp')).toBe('');
  await session.powerOff();
  expect((await guest.ended).message).toMatch(/^user-mode Linux ended \(0\).*reboot: Power down$/s);
  await guest.close();
});

test('nothing of it is left when we are killed', async () => {
  const keeper = fileURLToPath(new URL('uml-keeper.ts', import.meta.url));
  const folder = await mkdtemp(join(tmpdir(), 'virtio-keeper-'));
  const parent = spawn(process.execPath, ['--import', 'tsx', '--conditions=source', keeper], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TMPDIR: folder },
  });
  expect((await once(parent.stdout, 'data')).toString()).toBe('it runs\n');
  const family = await descendants(parent.pid ?? 0);
  // The kernel, and at least a process of the host's for one in the guest.
  expect(family.length).toBeGreaterThan(1);
  parent.kill('SIGKILL');
  await allGone(family);
  expect((await readdir(folder)).filter((name) => name.startsWith('virtio-'))).toEqual([]);
  await rm(folder, { recursive: true });
});
