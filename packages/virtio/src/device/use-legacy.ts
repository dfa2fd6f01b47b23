import * as status from '../spec/status-bit.ts';
import type { DeviceCore } from './core.ts';

/**
 * The driver reached for the legacy interface of a transitional device: its rules are in force until the next
 * reset. False, having named the mistake, when the driver has begun with the modern one.
 */
export function useLegacy(core: DeviceCore): boolean {
  const { session } = core;
  if (session.legacy !== undefined) return true;
  const begun = session.has(status.FEATURES_OK | status.DRIVER_OK);
  if (begun) core.violation('REGISTER_ACCESS', 'the modern and the legacy interface are used at once');
  else session.legacy = core.host.legacy;
  return !begun;
}
