import { otherBuses } from './quick-buses.ts';
import { describeHostileDriver } from './suites/hostile-driver.ts';

describeHostileDriver(otherBuses);
