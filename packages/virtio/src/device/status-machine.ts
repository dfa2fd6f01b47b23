import type { PeerErrorCode } from '../errors.ts';
import * as status from '../spec/status-bit.ts';

/** What a write to the device status field asks for. */
export interface StatusStep {
  /** Bits that are simply set: ACKNOWLEDGE, DRIVER, FAILED. */
  readonly set: number;
  /** The driver finished negotiation; the features must be checked. */
  readonly featuresOk: boolean;
  /** The driver is ready. */
  readonly driverOk: boolean;
  readonly suspend: boolean;
  readonly resume: boolean;
  /** What was out of order; the device lives with it. */
  readonly mistakes: readonly { readonly code: PeerErrorCode; readonly message: string }[];
}

/** The bits that a driver sets one after the other. */
const steps = {
  ACKNOWLEDGE: status.ACKNOWLEDGE,
  DRIVER: status.DRIVER,
  FEATURES_OK: status.FEATURES_OK,
  DRIVER_OK: status.DRIVER_OK,
};

/** Bits that have no step of their own. */
const plain = status.ACKNOWLEDGE | status.DRIVER | status.FAILED;

/**
 * Reads a non-zero write to the device status field against the present value.
 *
 * `canSuspend` tells whether VIRTIO_F_SUSPEND was negotiated; without it the SUSPEND bit is ignored.
 *
 * @spec 2.1.1 driver: Basic Facilities of a Virtio Device / Device Status Field
 * @spec 3.4.2 device: General Initialization And Device Operation / Device Suspend
 */
export function checkStatusWrite(current: number, written: number, canSuspend: boolean): StatusStep {
  const mistakes: { code: PeerErrorCode; message: string }[] = [];
  const suspended = (current & status.SUSPEND) !== 0;
  const added = written & ~current;
  const removed = current & ~written & ~status.DEVICE_NEEDS_RESET & ~status.SUSPEND;

  if (removed !== 0) {
    mistakes.push({
      code: 'STATUS_BIT_CLEARED',
      message: `status bits 0x${removed.toString(16)} were cleared`,
    });
  }
  const early = (bit: number, needs: number, what: string): boolean => {
    if ((added & bit) === 0 || ((current | added) & needs) === needs) return false;
    mistakes.push({ code: 'STATUS_SEQUENCE', message: what });
    return true;
  };
  early(status.DRIVER, status.ACKNOWLEDGE, 'DRIVER was set before ACKNOWLEDGE');
  early(status.FEATURES_OK, status.ACKNOWLEDGE | status.DRIVER, 'FEATURES_OK was set before DRIVER');
  const together = Object.entries(steps).flatMap(([name, bit]) => ((added & bit) === 0 ? [] : [name]));
  if (together.length > 1) {
    mistakes.push({ code: 'STATUS_SEQUENCE', message: `${together.join(', ')} were set in one write` });
  }
  const notReady = !suspended && (current & status.FEATURES_OK) === 0 && (added & status.DRIVER_OK) !== 0;
  if (notReady) {
    mistakes.push({
      code: 'STATUS_SEQUENCE',
      message: 'DRIVER_OK was set while FEATURES_OK is not; a legacy driver needs a legacy device',
    });
  }
  const driverOk = (added & status.DRIVER_OK) !== 0;
  return {
    set: added & plain,
    featuresOk: (added & status.FEATURES_OK) !== 0,
    driverOk: driverOk && !suspended && !notReady,
    suspend: canSuspend && (added & status.SUSPEND) !== 0 && (current & status.DRIVER_OK) !== 0,
    resume: suspended && driverOk,
    mistakes,
  };
}
