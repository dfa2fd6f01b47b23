/** Sockets in user-mode Linux, served by this process over vhost-user. */
import { guestFiles } from 'virtio-node/guests';
import { UmlMachine } from 'virtio-node/uml';
import { NativeMachine } from './native-machine.ts';
import { vsockGuest, vsockSuite } from './vsock-suite.ts';

vsockSuite(
  (device) =>
    NativeMachine.boot(
      async (options) =>
        UmlMachine.start({ ...options, guest: await guestFiles({ machine: 'uml', ...vsockGuest }) }),
      true,
      { devices: [device] },
    ),
  { pieces: 250, pieceLength: 4_000_000, visits: 1000 },
);
