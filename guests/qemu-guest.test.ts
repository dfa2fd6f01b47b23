import { guestFiles, serialPorts } from 'virtio-node/guests';
import { QemuGuest } from 'virtio-node/qemu';
import { nativeSuite } from './native-suite.ts';
import { qemu } from './qemu-machine.ts';

nativeSuite(async (options) =>
  QemuGuest.start({
    ...options,
    tool: await qemu('qemu-11'),
    guest: await guestFiles({ machine: 'qemu' }),
    ports: 2,
    append: serialPorts('ttyS1', 'ttyS2'),
  }),
);
