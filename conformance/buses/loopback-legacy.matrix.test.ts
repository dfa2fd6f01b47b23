import { describeBus } from '../suites/bus.ts';

describeBus('loopback-legacy');
