import { Machine } from './machine.ts';
import { vsockGuest, vsockSuite } from './vsock-suite.ts';

vsockSuite((device) => Machine.boot({ ...vsockGuest, devices: [device] }), {
  bytes: 20_000_000,
  visits: 100,
});
