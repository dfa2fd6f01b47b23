import { otherBuses } from './quick-buses.ts';
import { describeCases } from './suites/cases.ts';

describeCases(otherBuses);
