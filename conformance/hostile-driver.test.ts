import { quickBuses } from './quick-buses.ts';
import { describeHostileDriver } from './suites/hostile-driver.ts';

describeHostileDriver(quickBuses);
