/**
 * Our driver on network devices that we did not write: passt's over vhost-user, and QEMU's, on a network of QEMU's own. An
 * interface of this machine's kernel is at the other end of its link: the kernel is the guest.
 */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { macText, net, openNet } from 'virtio/devices/net';
import { connect } from 'virtio/link';
import { openTap, type Tap } from 'virtio-node/network';
import { QemuPciMachine } from 'virtio-node/qemu';
import { connectVhostUser } from 'virtio-node/vhost-user';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { GuestServers, hashOfBytes } from './net-servers.ts';
import { startPasst } from './passt.ts';
import { qemu } from './qemu-machine.ts';

const space = `vt-driver-${process.pid}`;
const name = `vtd${process.pid}`;
const host = '10.0.2.2';
const length = 20_000_000;

const ip = (...args: readonly string[]): boolean => spawnSync('ip', args).status === 0;

/** An interface in a network of the kernel's that sees nothing else. */
function openSpace(mac: string): Tap {
  if (!ip('netns', 'add', space)) throw new Error('no network namespaces here');
  const tap = openTap(name);
  const there = ['-n', space];
  const isDone =
    ip('link', 'set', name, 'address', mac, 'netns', space) &&
    ip(...there, 'address', 'add', '10.0.2.15/24', 'dev', name) &&
    ip(...there, 'link', 'set', name, 'up');
  if (isDone) return tap;
  tap.close();
  throw new Error('no interface in a network namespace here');
}

function closeSpace(tap: Tap | undefined): void {
  tap?.close();
  ip('netns', 'delete', space);
}

function obstacle(): string | undefined {
  let tap: Tap | undefined;
  try {
    tap = openSpace('52:54:00:00:00:01');
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    closeSpace(tap);
  }
}
const why = obstacle();

/** Fetches bytes, sends them back, and says both hashes. */
const script = `
  const { createHash } = require('node:crypto');
  const [host, port, sink, length] = process.argv.slice(1);
  const hash = createHash('sha256');
  const back = require('node:net').connect(sink, host);
  require('node:http').get({ host, port, path: '/bytes/' + length }, (response) => {
    response.on('data', (bytes) => hash.update(bytes));
    response.pipe(back);
  });
  let said = '';
  back.on('data', (bytes) => (said += bytes)).on('end', () => console.log(hash.digest('hex') + ' ' + said.trim()));`;

/** Runs a program in the network of the kernel's, and gives what it says. */
async function inside(program: string, ...args: readonly (string | number)[]): Promise<string> {
  const { stdout } = await promisify(execFile)('ip', [
    ...['netns', 'exec', space, process.execPath, '-e', program],
    ...args.map(String),
  ]);
  return stdout;
}

describe.skipIf(why !== undefined)(
  `our driver on a device${why === undefined ? '' : ` (not here: ${why})`}`,
  () => {
    let folder: string;
    let servers: GuestServers;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'virtio-driver-'));
      servers = await GuestServers.start();
    });
    afterAll(async () => {
      await servers?.stop();
      await rm(folder, { recursive: true });
    });

    test('of passt’s over vhost-user: it answers the kernel that looks for it', async () => {
      const socket = join(folder, 'passt');
      const passt = await startPasst(socket, '--vhost-user');
      // It keeps no configuration, and offers nothing that is in it.
      const config = new Uint8Array(net.config.size);
      const options = { deviceId: net.id, queueMaxSize: 256, config, timeout: 120_000 };
      const card = await openNet(await connectVhostUser(socket, options));
      const tap = openSpace(macText(card.mac));
      try {
        connect(card.endpoint, tap.endpoint);
        await inside(
          `require('node:dgram').createSocket('udp4').send('', 9, '${host}', () => process.exit())`,
        );
        // It says that checksums of more than ARP are right and leaves them away, which a kernel's interface does not believe.
        await vi.waitFor(
          () =>
            expect(String(spawnSync('ip', ['-n', space, 'neighbour']).stdout)).toMatch(
              /10\.0\.2\.2 .*lladdr/,
            ),
          60_000,
        );
        expect(passt.hasEnded).toBe(false);
      } finally {
        closeSpace(tap);
        await card.close();
        await passt.kill();
      }
    });

    test('of QEMU’s own, on its user network: bytes arrive unchanged both ways', async () => {
      const device = 'virtio-net-pci,addr=4,netdev=world,disable-legacy=on,romfile=';
      const machine = await QemuPciMachine.start({
        tool: await qemu('qemu-x86'),
        board: 'q35',
        args: ['-netdev', 'user,id=world', '-device', device],
      });
      const card = await openNet(await machine.open(4));
      const tap = openSpace(macText(card.mac));
      try {
        const cable = connect(card.endpoint, tap.endpoint);
        const said = await inside(script, host, servers.port, servers.sinkPort, length);
        expect(said).toBe(`${hashOfBytes(length)} ${hashOfBytes(length)}\n`);
        expect(cable.fromFirst.malformed + cable.toFirst.malformed).toBe(0);
      } finally {
        closeSpace(tap);
        await card.close();
        await machine.close();
      }
    });
  },
);
