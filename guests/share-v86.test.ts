import { shareGuest, shareSuite } from './share-suite.ts';
import { Machine } from './v86-machine.ts';

shareSuite((devices) => Machine.boot({ ...shareGuest, devices }), { files: 200, twoGuests: false });
