import { quickBuses } from './quick-buses.ts';
import { describeHostileDevice } from './suites/hostile-device.ts';

describeHostileDevice(quickBuses);
