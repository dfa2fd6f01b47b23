import { Machine } from './v86-machine.ts';
import { vsockGuest, vsockSuite } from './vsock-suite.ts';

vsockSuite((device) => Machine.boot({ ...vsockGuest, devices: [device] }), {
  pieces: 10,
  pieceLength: 2_000_000,
  visits: 100,
});
