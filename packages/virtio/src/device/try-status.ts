import * as status from '../spec/status-bit.ts';
import type { DeviceCore } from './core.ts';

const knownStatus = Object.values(status).reduce<number>((all, bit) => all | bit, 0);

/**
 * A write of the device status field, not 0, where the transport can refuse one: false when it did not take, and
 * the field is as it was. A suspend takes when it has begun.
 */
export function tryStatus(core: DeviceCore, value: number): boolean {
  const { session } = core;
  const before = session.status;
  const { DEVICE_NEEDS_RESET, SUSPEND, DRIVER_OK } = status;
  const cleared = before & ~value & ~(DEVICE_NEEDS_RESET | SUSPEND);
  if (cleared !== 0 || (value & ~knownStatus) !== 0) {
    const message = `status 0x${value.toString(16)} was written where it is 0x${before.toString(16)}`;
    core.violation(cleared === 0 ? 'STATUS_SEQUENCE' : 'STATUS_BIT_CLEARED', message);
    return false;
  }
  core.writeStatus(value);
  const mayBeMissing = core.negotiated('SUSPEND') ? SUSPEND | DRIVER_OK : 0;
  if ((value & ~session.status & ~DEVICE_NEEDS_RESET & ~mayBeMissing) === 0) return true;
  session.status = before | (session.status & DEVICE_NEEDS_RESET);
  return false;
}
