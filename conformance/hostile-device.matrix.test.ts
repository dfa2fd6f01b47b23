import { otherBuses } from './quick-buses.ts';
import { describeHostileDevice } from './suites/hostile-device.ts';

describeHostileDevice(otherBuses);
