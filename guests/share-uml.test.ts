/** Our shares in user-mode Linux, served by this process over vhost-user. */
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { NativeMachine, startUml } from './native-machine.ts';
import { shareGuest, shareSuite } from './share-suite.ts';

/** So many files are for no disk that others use as well. */
const memory = '/dev/shm';

const start = startUml(shareGuest);

shareSuite((devices) => NativeMachine.boot(start, true, { devices }), {
  files: 5000,
  twoGuests: true,
  base: existsSync(memory) ? memory : tmpdir(),
});
