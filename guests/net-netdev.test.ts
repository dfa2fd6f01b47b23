/**
 * QEMU's own network device with ours behind it, as `-netdev vhost-user` has it: QEMU keeps the control queue and the
 * configuration to itself, and enables pairs of queues as its driver wants them.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { netDevice } from 'virtio/devices/net';
import { connect } from 'virtio/link';
import { userNetwork } from 'virtio/network';
import { VhostUserBackend } from 'virtio/vhost-user';
import { packedRing } from 'virtio/virtqueue';
import { guestFiles } from 'virtio-node/guests';
import { listenUnix, NodeDescriptors } from 'virtio-node/host';
import { QemuGuest } from 'virtio-node/qemu';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NativeMachine } from './native-machine.ts';
import { qemu } from './qemu-machine.ts';

const pairs = 2;
const device = netDevice({ queuePairs: pairs });
const errors: Error[] = [];
const backends = new Set<VhostUserBackend>();
let machine: NativeMachine;
let folder = '';
let listening: ReturnType<typeof listenUnix>;

beforeAll(async () => {
  connect(device.endpoint, userNetwork());
  folder = await mkdtemp(join(tmpdir(), 'virtio-netdev-'));
  const path = join(folder, 'socket');
  const host = new NodeDescriptors();
  listening = listenUnix(path, (channel) => {
    const onError = (error: Error): void => void errors.push(error);
    backends.add(new VhostUserBackend(device, channel, host, { packedRing, onError }));
  });
  const args = [
    ...['-chardev', `socket,id=net,path=${path}`],
    ...['-netdev', `vhost-user,id=net,chardev=net,queues=${pairs}`],
    ...['-device', `virtio-net-pci,romfile=,netdev=net,mac=52:54:00:12:34:56,mq=on,vectors=${2 * pairs + 2}`],
  ];
  const [tool, guest] = [await qemu('qemu-11'), await guestFiles({ machine: 'qemu', programs: ['ethtool'] })];
  machine = await NativeMachine.boot((options) => QemuGuest.start({ ...options, tool, guest, args }), true, {
    devices: [],
  });
  await machine.text(
    'modprobe virtio_net; ip link set eth0 up; udhcpc -i eth0 -s /etc/dhcp -n -q 2>/dev/null',
  );
});
afterAll(async () => {
  await machine?.stop();
  listening?.close();
  for (const backend of backends) backend.close();
  await rm(folder, { recursive: true, force: true });
});

const ping = async (): Promise<void> => {
  expect(await machine.text('ping -c 2 -A 10.0.2.2')).toContain(' 0% packet loss');
};

test('the guest has an address, and reaches the network', async () => {
  expect(await machine.text('ip -4 -o addr show eth0')).toContain('10.0.2.15/24');
  await ping();
});

test('queues come and go, and what comes reaches those that are there', async () => {
  for (const used of [2, 1, 2]) {
    await machine.text(`ethtool -L eth0 combined ${used}`);
    for (let i = 0; i < 3; i++) await ping();
  }
  await machine.text('ping -c 1 -s 60000 10.0.2.2');
  expect(errors).toEqual([]);
  expect(machine.errors).toEqual([]);
});
