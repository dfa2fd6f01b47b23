/**
 * Our driver on network devices that we did not write: passt's over vhost-user, with our own host behind the driver, and QEMU's,
 * on a network of QEMU's own, with an interface of this machine's kernel at the other end of its link: the kernel is the guest.
 */
import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { macText, net, openNet } from 'virtio/devices/net';
import { connect, noOffloads } from 'virtio/link';
import { Station } from 'virtio/network';
import { openTap, type Tap } from 'virtio-node/network';
import { QemuPciMachine } from 'virtio-node/qemu';
import { connectVhostUser } from 'virtio-node/vhost-user';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytesOf, GuestServers, hashOfBytes } from './net-servers.ts';
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

/** What DHCP begins with, from a host that has no address yet. */
function discover(mac: Uint8Array): Uint8Array {
  const message = new Uint8Array(300);
  // A request over Ethernet, with an identifier of its own, whose answer goes to all.
  message.set([1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0x80, 0]);
  message.set(mac, 28);
  // Its kind of message: DISCOVER.
  message.set([99, 130, 83, 99, 53, 1, 1, 255], 236);
  return message;
}

/** Fetches bytes of the servers', and gives the hash of them, in hexadecimal. */
async function fetched(station: Station, count: number): Promise<string> {
  const stream = await station.connect(host, servers.port);
  await stream.write(
    Buffer.from(`GET /bytes/${count} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`),
  );
  const hash = createHash('sha256');
  let head: Buffer | undefined = Buffer.alloc(0);
  for await (const bytes of stream) {
    if (head === undefined) hash.update(bytes);
    else {
      head = Buffer.concat([head, bytes]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) continue;
      hash.update(head.subarray(end + 4));
      head = undefined;
    }
  }
  stream.end();
  return hash.digest('hex');
}

/** Sends so many bytes to the servers, and gives the hash that they say. */
async function sent(station: Station, count: number): Promise<string> {
  const stream = await station.connect(host, servers.sinkPort);
  for (const bytes of bytesOf(count)) await stream.write(bytes);
  stream.end();
  const said: Uint8Array[] = [];
  for await (const bytes of stream) said.push(bytes);
  return Buffer.concat(said).toString().trim();
}

test('our driver on passt’s device over vhost-user, with our own host behind it: DHCP, and bytes both ways', async () => {
  const socket = join(folder, 'passt');
  const passt = await startPasst(socket, '--vhost-user');
  // It keeps no configuration, and offers nothing that is in it.
  const config = new Uint8Array(net.config.size);
  const options = { deviceId: net.id, queueMaxSize: 256, config, timeout: 120_000 };
  const card = await openNet(await connectVhostUser(socket, options));
  const station = new Station({
    mac: macText(card.mac),
    takes: { ...noOffloads, checksum: true, tcp4: true, tcp6: true },
  });
  try {
    const cable = connect(card.endpoint, station);
    const offered = new Promise<Uint8Array>((resolve) => {
      const client = station.socket(68, (bytes) => resolve(bytes.slice()));
      client.send(discover(card.mac), host, 67);
    });
    const offer = await offered;
    expect([offer[0], ...offer.subarray(4, 8), ...offer.subarray(16, 20)]).toEqual([
      2, 1, 2, 3, 4, 10, 0, 2, 15,
    ]);
    expect(await fetched(station, length)).toBe(hashOfBytes(length));
    expect(await sent(station, length)).toBe(hashOfBytes(length));
    expect(cable.fromFirst.malformed + cable.toFirst.malformed).toBe(0);
    expect(passt.hasEnded).toBe(false);
  } finally {
    station.close();
    await card.close();
    await passt.kill();
  }
});

describe.skipIf(why !== undefined)(
  `our driver on a device${why === undefined ? '' : ` (not here: ${why})`}`,
  () => {
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
