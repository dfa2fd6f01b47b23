import { describeBus } from '../suites/bus.ts';

describeBus('mmio-legacy');
