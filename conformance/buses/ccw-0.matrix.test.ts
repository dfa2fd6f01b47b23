import { describeBus } from '../suites/bus.ts';

describeBus('ccw-0');
