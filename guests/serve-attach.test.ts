/** What `virtio serve` says of how to attach its devices, given to QEMU as it is: one guest with a device of each type. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheFolder, GuestSession, guestFiles, type NativeGuest, serialPorts } from 'virtio-node/guests';
import { QemuGuest } from 'virtio-node/qemu';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CommandRun, endAll } from './cli-command.ts';
import { qemu } from './qemu-machine.ts';

const mac = '52:54:00:00:00:2a';

let folder: string;
let guest: NativeGuest;
let session: GuestSession;
const served = new Map<string, CommandRun>();

/** Serves a device, and answers QEMU's arguments for it without those that any of them has for the machine. */
async function serve(type: string, ...own: string[]): Promise<string[]> {
  // QEMU reads a comma in a path as the end of it unless told.
  const args = ['serve', type, '--socket-path', join(folder, `${type},1.sock`), '--json', ...own];
  const said = await new CommandRun([...args, '--print-qemu-args'], cacheFolder()).end();
  const command = new CommandRun(args, cacheFolder());
  await command.reports('"listening"');
  served.set(type, command);
  const words: string[] = JSON.parse(said.stdout.toString()).args;
  expect(words.slice(0, 6)).toEqual([
    ...['-m', '512M', '-object', 'memory-backend-memfd,id=shared,size=512M,share=on'],
    ...['-machine', 'memory-backend=shared'],
  ]);
  return words.slice(6);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-attach-'));
  const shared = join(folder, 'shared');
  await mkdir(shared);
  await writeFile(join(shared, 'file'), 'of this machine');
  const args = [
    await serve('blk', '--scratch', '8', '--queues', '2', '--serial', 'attached'),
    await serve('console'),
    await serve('entropy'),
    await serve('net', '--mac', mac, '--mtu', '1400', '--queues', '2'),
    await serve('vsock', '--uds-path', join(folder, 'ports'), '--guest-cid', '42'),
    await serve('fs', '--shared-dir', shared, '--tag', 'here', '--queues', '2'),
  ];
  guest = await QemuGuest.start({
    tool: await qemu('qemu-11'),
    guest: await guestFiles({ machine: 'qemu' }),
    ports: 2,
    append: serialPorts('ttyS1', 'ttyS2'),
    // A card's firmware is no part of what is attached, and not in the cache.
    args: ['-global', 'virtio-net-pci.romfile=', ...args.flat()],
  });
  session = new GuestSession(guest);
  await session.ready();
  await session.text(
    'modprobe -a virtio_blk virtio_console virtio-rng virtio_net virtiofs vmw_vsock_virtio_transport',
  );
});

afterAll(async () => {
  await guest?.close();
  endAll();
  await rm(folder, { recursive: true });
});

test('Linux finds a device of each type that is served, as it was told to be', async () => {
  expect(await session.text('cat /sys/block/vda/serial; ls /sys/block/vda/mq | wc -l')).toMatch(
    /^attached\s*\d$/,
  );
  expect(await session.text('cat /sys/class/misc/hw_random/rng_current')).toMatch(/^virtio_rng\.\d$/);
  expect(await session.text('cd /sys/class/net/eth0 && cat address mtu')).toBe(`${mac}\n1400`);
  expect(await session.text('ls -d /sys/bus/virtio/drivers/vmw_vsock_virtio_transport/virtio*')).toMatch(
    /virtio\d$/,
  );
  const mount = 'mkdir -p /here && mount -t virtiofs here /here && cat /here/file';
  expect(await session.text(mount)).toBe('of this machine');
  await session.text('echo to the console >/dev/hvc0');
  await served.get('console')?.says('to the console');
});

test('each of them ends when it is told to, and says nothing of a mistake', async () => {
  await guest.close();
  for (const command of served.values()) {
    command.kill('SIGTERM');
    const { status, events } = await command.end();
    expect(status).toBe(0);
    expect(events.map(({ event }) => event)).toEqual(['listening', 'connected', 'disconnected']);
  }
});
