/** Our network device and user network in v86. */

import { netGuest } from './net-servers.ts';
import { netSuite } from './net-suite.ts';
import { Machine } from './v86-machine.ts';

netSuite((devices) => Machine.boot({ ...netGuest, devices }), { bytes: 5_000_000, otherBytes: 300_000 });
