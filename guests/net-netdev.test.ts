/**
 * QEMU's own network devices with ours behind them, as `-netdev vhost-user` has it: QEMU keeps the control queue and the
 * configuration to itself, and enables pairs of queues as its driver wants them. The second one has no offloads, and buffers
 * of one frame, since QEMU was told so.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { netDevice } from 'virtio/devices/net';
import { connect } from 'virtio/link';
import { type UserNetwork, userNetwork } from 'virtio/network';
import { VhostUserBackend } from 'virtio/vhost-user';
import { packedRing } from 'virtio/virtqueue';
import { guestFiles } from 'virtio-node/guests';
import { type Listening, listenUnix, NodeDescriptors } from 'virtio-node/host';
import { nodeUplink } from 'virtio-node/network';
import { QemuGuest } from 'virtio-node/qemu';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NativeMachine } from './native-machine.ts';
import { GuestServers, hashOfBytes } from './net-servers.ts';
import { qemu } from './qemu-machine.ts';

const pairs = 2;
/** What QEMU shall not offer its driver, whatever is behind it. */
const off = [
  ...['csum', 'gso', 'host_tso4', 'host_tso6', 'host_ecn', 'host_ufo', 'host_uso', 'mrg_rxbuf'],
  ...['guest_csum', 'guest_tso4', 'guest_tso6', 'guest_ecn', 'guest_ufo', 'guest_uso4', 'guest_uso6'],
];
/** Each device of ours, the network at its other end, and what it is in the guest. */
const nets = [
  {
    device: netDevice({ queuePairs: pairs }),
    number: 2,
    options: `mq=on,vectors=${2 * pairs + 2}`,
    queues: pairs,
  },
  { device: netDevice(), number: 3, options: off.map((name) => `${name}=off`).join(','), queues: 1 },
].map((net) => ({ ...net, mac: `52:54:00:12:34:0${net.number}`, host: `10.0.${net.number}.2`, name: '' }));
const [all, bare] = nets;
const bytes = 4_000_000;
const errors: Error[] = [];
const backends = new Set<VhostUserBackend>();
let machine: NativeMachine;
let folder = '';
let servers: GuestServers;
const listening: Listening[] = [];
const networks: UserNetwork[] = [];

beforeAll(async () => {
  servers = await GuestServers.start();
  folder = await mkdtemp(join(tmpdir(), 'virtio-netdev-'));
  const host = new NodeDescriptors();
  const args = nets.flatMap(({ device, number, mac, options, queues }) => {
    const network = userNetwork({ uplink: nodeUplink(), ipv4: { network: `10.0.${number}.0/24` } });
    networks.push(network);
    connect(device.endpoint, network);
    const path = join(folder, `socket${number}`);
    listening.push(
      listenUnix(path, (channel) => {
        const onError = (error: Error): void => void errors.push(error);
        backends.add(new VhostUserBackend(device, channel, host, { packedRing, onError }));
      }),
    );
    return [
      ...['-chardev', `socket,id=char${number},path=${path}`],
      ...['-netdev', `vhost-user,id=net${number},chardev=char${number},queues=${queues}`],
      ...['-device', `virtio-net-pci,romfile=,netdev=net${number},mac=${mac},${options}`],
    ];
  });
  const [tool, guest] = [
    await qemu('qemu-11'),
    await guestFiles({ machine: 'qemu', programs: ['ethtool', 'socat'] }),
  ];
  machine = await NativeMachine.boot((options) => QemuGuest.start({ ...options, tool, guest, args }), true, {
    devices: [],
  });
  await machine.text('modprobe virtio_net');
  const found = await machine.text('cd /sys/class/net; grep . eth*/address');
  for (const net of nets) {
    net.name = new RegExp(`(eth\\d)/address:${net.mac}`).exec(found)?.[1] ?? '';
    await machine.text(`ip link set ${net.name} up; udhcpc -i ${net.name} -s /etc/dhcp -n -q 2>/dev/null`);
  }
});
afterAll(async () => {
  await machine?.stop();
  for (const one of listening) one.close();
  for (const backend of backends) backend.close();
  for (const network of networks) await network.close();
  await servers?.stop();
  await rm(folder, { recursive: true, force: true });
});

const ping = async (): Promise<void> => {
  expect(await machine.text('ping -c 2 -A 10.0.2.2')).toContain(' 0% packet loss');
};

test('the guest has addresses, and reaches the networks', async () => {
  for (const { name, number } of nets) {
    expect(await machine.text(`ip -4 -o addr show ${name}`)).toContain(`10.0.${number}.15/24`);
  }
  await ping();
});

test('bytes arrive unchanged both ways, with all offloads and with those that QEMU has left none of', async () => {
  const bits = await machine.text(`cut -c1-24 /sys/class/net/${bare?.name}/device/features`);
  // CTRL_GUEST_OFFLOADS and MAC alone: the offloads and mergeable buffers are below bit 16.
  expect(bits.slice(0, 16)).toBe('0010010000000000');
  for (const { host } of nets) {
    const url = `http://${host}:${servers.port}/bytes/${bytes}`;
    expect(await machine.text(`wget -q -O - ${url} | sha256sum`)).toBe(`${hashOfBytes(bytes)}  -`);
    const up = `socat -b 65536 -t 60 - TCP:${host}:${servers.sinkPort}`;
    expect(await machine.text(`wget -q -O - ${url} | ${up}`)).toBe(hashOfBytes(bytes));
  }
  expect(errors).toEqual([]);
});

test('queues come and go, and what comes reaches those that are there', async () => {
  for (const used of [2, 1, 2]) {
    await machine.text(`ethtool -L ${all?.name} combined ${used}`);
    for (let i = 0; i < 3; i++) await ping();
  }
  await machine.text('ping -c 1 -s 60000 10.0.2.2');
  expect(errors).toEqual([]);
  expect(machine.errors).toEqual([]);
});
