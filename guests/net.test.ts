/** Our network device and user network in v86. */
import { Machine } from './machine.ts';
import { netGuest } from './net-servers.ts';
import { netSuite } from './net-suite.ts';

netSuite((devices) => Machine.boot({ ...netGuest, devices }), { bytes: 5_000_000, otherBytes: 300_000 });
