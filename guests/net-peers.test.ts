/** What other projects say to our networks: passt at a stream socket behind our device, and tshark of our captures. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { netDevice } from 'virtio/devices/net';
import { Capture, connect } from 'virtio/link';
import { ensureTool, type GuardedChild } from 'virtio-node/guests';
import { connectStream, type StreamConnection } from 'virtio-node/network';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NativeMachine, startUml } from './native-machine.ts';
import { GuestServers, hashOfBytes, netGuest } from './net-servers.ts';
import { passtHost, startPasst } from './passt.ts';
import { runTool } from './run-tool.ts';

const start = startUml(netGuest);

let folder: string;
let passt: GuardedChild;
let stream: StreamConnection;
let servers: GuestServers;
let machine: NativeMachine;
const pieces: Uint8Array[] = [];
const device = netDevice({ mac: '52:54:00:12:34:56' });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtio-peers-'));
  const socket = join(folder, 'passt');
  passt = await startPasst(socket);
  stream = await connectStream({ path: socket });
  const capture = new Capture({ write: (piece) => void pieces.push(piece), application: 'a test' });
  connect(device.endpoint, stream.endpoint, { watcher: capture.interface('net0', 'to passt') });
  servers = await GuestServers.start();
  machine = await NativeMachine.boot(start, true, { devices: [device] });
});
afterAll(async () => {
  await machine?.stop();
  stream?.close();
  await passt?.kill();
  await servers?.stop();
  await rm(folder, { recursive: true });
});

test('a guest behind our device is on the network by passt', async () => {
  const url = `http://${passtHost}:${servers.port}`;
  const length = 20_000_000;
  expect(await machine.text('ip -4 -o addr show dev eth0')).toMatch(/inet 10\.0\.2\.15\/24/);
  expect(await machine.text(`wget -q -O - ${url}/bytes/${length} | sha256sum`)).toBe(
    `${hashOfBytes(length)}  -`,
  );
  expect(
    await machine.text(
      `wget -q -O - ${url}/bytes/${length} | socat -b 65536 -t 60 - TCP:${passtHost}:${servers.sinkPort}`,
    ),
  ).toBe(hashOfBytes(length));
  expect(machine.errors).toEqual([]);
});

test('tshark reads our capture of it', async () => {
  const file = join(folder, 'frames.pcapng');
  await writeFile(file, Buffer.concat(pieces));
  const tshark = await ensureTool('tshark', { path: [] });
  const show = async (filter: string, ...fields: readonly string[]): Promise<string[][]> => {
    const columns = fields.flatMap((field) => ['-e', field]);
    const text = await runTool(tshark, ['-n', '-r', file, '-Y', filter, '-T', 'fields', ...columns]);
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => line.split('\t'));
  };
  const [discover, offer] = await show(
    'dhcp',
    'frame.interface_name',
    'eth.src',
    'dhcp.option.dhcp',
    'frame.packet_flags_direction',
  );
  // Outbound is what the guest sends.
  expect(discover).toEqual(['net0', '52:54:00:12:34:56', '1', '0x00000002']);
  expect(offer?.slice(2)).toEqual(['2', '0x00000001']);
  const syns = await show('tcp.flags.syn == 1 && tcp.flags.ack == 0', 'ip.src', 'ip.dst', 'tcp.dstport');
  expect(syns).toContainEqual(['10.0.2.15', passtHost, `${servers.port}`]);
  expect(await show('_ws.malformed', 'frame.number')).toEqual([]);
});
