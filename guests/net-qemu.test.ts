/** Our network device and user network in QEMU. */
import { guestFiles, type NativeGuestOptions } from 'virtio-node/guests';
import { QemuGuest } from 'virtio-node/qemu';
import { NativeMachine } from './native-machine.ts';
import { netGuest } from './net-servers.ts';
import { netSuite, testFourPairs } from './net-suite.ts';
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

testFourPairs(suite);
