/** Our network device and user network in QEMU. */
import { NativeMachine, startQemu } from './native-machine.ts';
import { netGuest } from './net-servers.ts';
import { netSuite, testFourPairs } from './net-suite.ts';

const start = startQemu(netGuest);

const suite = netSuite(
  (devices) => NativeMachine.boot(start, true, { devices }),
  { bytes: 20_000_000, otherBytes: 4_000_000 },
  { queuePairs: 4 },
);

testFourPairs(suite);
