/** Our shares in QEMU, served by this process over vhost-user. */
import { guestFiles, type NativeGuestOptions } from 'virtio-node/guests';
import { QemuGuest } from 'virtio-node/qemu';
import { NativeMachine } from './native-machine.ts';
import { qemu } from './qemu-machine.ts';
import { shareGuest, shareSuite } from './share-suite.ts';

const start = async (options: NativeGuestOptions): Promise<QemuGuest> =>
  QemuGuest.start({
    ...options,
    tool: await qemu('qemu-11'),
    guest: await guestFiles({ machine: 'qemu', ...shareGuest }),
  });

shareSuite((devices) => NativeMachine.boot(start, false, { devices }), { files: 500, twoGuests: false });
