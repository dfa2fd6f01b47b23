/** Our shares in user-mode Linux, served by this process over vhost-user. */
import { guestFiles, type NativeGuestOptions } from 'virtio-node/guests';
import { UmlMachine } from 'virtio-node/uml';
import { NativeMachine } from './native-machine.ts';
import { shareGuest, shareSuite } from './share-suite.ts';

const start = async (options: NativeGuestOptions): Promise<UmlMachine> =>
  UmlMachine.start({ ...options, guest: await guestFiles({ machine: 'uml', ...shareGuest }) });

shareSuite((devices) => NativeMachine.boot(start, true, { devices }), { files: 5000, twoGuests: true });
