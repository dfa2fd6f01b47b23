import { describeBus } from '../suites/bus.ts';

describeBus('vfio-user');
