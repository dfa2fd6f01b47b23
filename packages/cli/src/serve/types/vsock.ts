import { openSocketsAt } from '../../run/sockets.ts';
import type { MakeDevice } from '../ready-device.ts';

// A plan for this type has a path.
export const make: MakeDevice = async ({ udsPath = '', guestCid, siblings, reserved }) =>
  openSocketsAt(udsPath, '--uds-path', { guestCid, reserved }, { siblings });
