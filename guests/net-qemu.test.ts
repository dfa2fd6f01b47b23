/** Our network device and user network in QEMU. */
import { guestFiles, type NativeGuestOptions } from 'virtio-node/guests';
import { QemuGuest } from 'virtio-node/qemu';
import { expect, test } from 'vitest';
import { NativeMachine } from './native-machine.ts';
import { netGuest } from './net-servers.ts';
import { netSuite } from './net-suite.ts';
import { qemu } from './qemu-machine.ts';

const start = async (options: NativeGuestOptions): Promise<QemuGuest> =>
  QemuGuest.start({
    ...options,
    tool: await qemu('qemu-11'),
    guest: await guestFiles({ machine: 'qemu', ...netGuest }),
  });

const suite = netSuite(
  (devices) => NativeMachine.boot(start, true, { devices }),
  { bytes: 20_000_000, otherBytes: 4_000_000 },
  { queuePairs: 4 },
);

test('four pairs of queues are used, and the answers come back', async () => {
  const { machine, device, name } = suite;
  expect(await machine.text(`ethtool -l ${name} | grep Combined`)).toMatch(
    /Combined:\s*4\n.*Combined:\s*[14]/s,
  );
  await machine.text(`ethtool -L ${name} combined 4`);
  expect(await machine.text(`ethtool -l ${name} | grep Combined | tail -1`)).toMatch(/4$/);
  await machine.text(
    `for i in 1 2 3 4 5 6 7 8; do wget -q -O - ${suite.url}/bytes/1000000 >/dev/null & done; wait`,
  );
  expect(device.received.length).toBe(4);
  expect(machine.errors).toEqual([]);
});
