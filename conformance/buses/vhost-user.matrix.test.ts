import { describeBus } from '../suites/bus.ts';

describeBus('vhost-user');
