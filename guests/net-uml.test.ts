/** Our network device and user network under user-mode Linux, whose kernel is the youngest that is tried here. */
import { guestFiles, type NativeGuestOptions } from 'virtio-node/guests';
import { UmlMachine } from 'virtio-node/uml';
import { expect, test } from 'vitest';
import { NativeMachine } from './native-machine.ts';
import { netGuest } from './net-servers.ts';
import { netSuite } from './net-suite.ts';

const start = async (options: NativeGuestOptions): Promise<UmlMachine> =>
  UmlMachine.start({ ...options, guest: await guestFiles({ machine: 'uml', ...netGuest }) });

const suite = netSuite(
  (devices) => NativeMachine.boot(start, true, { devices }),
  { bytes: 100_000_000, otherBytes: 10_000_000 },
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
