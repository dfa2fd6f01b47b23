import { Machine } from './machine.ts';
import { shareGuest, shareSuite } from './share-suite.ts';

shareSuite((devices) => Machine.boot({ ...shareGuest, devices }), { files: 200, twoGuests: false });
