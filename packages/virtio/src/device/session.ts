import { FeatureSet } from '../spec/features.ts';
import * as status from '../spec/status-bit.ts';
import type { ActiveQueue } from './active-queue.ts';
import type { LegacyInterface } from './legacy.ts';

/** One driver's use of a device: all that a reset undoes, and what saving it must keep. */
export class Session {
  /** The device status field. */
  status = 0;
  driverFeatures: FeatureSet = FeatureSet.empty;
  /** The legacy interface while it is in force. */
  legacy: LegacyInterface | undefined;
  /** A legacy driver uses the device and has not set DRIVER_OK yet. */
  early = false;
  /** The driver has asked for a suspend, and chains are in flight. */
  suspending = false;
  /** Saved in the middle of a suspend: what was in flight is taken again first. */
  suspendAfterResume = false;
  /** The driver has not heard of a configuration change yet. */
  configChanged = false;
  /** The queues that it has enabled, at their indexes. */
  readonly queues: (ActiveQueue | undefined)[] = [];

  constructor(legacy: LegacyInterface | undefined) {
    this.legacy = legacy;
  }

  /** True when any of the status bits is set. */
  has(bits: number): boolean {
    return (this.status & bits) !== 0;
  }

  /** True from DRIVER_OK, or a legacy driver's first use of the device; not while suspended or in need of a reset. */
  get live(): boolean {
    return !this.has(status.DEVICE_NEEDS_RESET) && (this.has(status.DRIVER_OK) || this.early);
  }

  /** True while chains are in the device's hands. */
  get inFlight(): boolean {
    return this.queues.some((queue) => (queue?.ring.inFlight ?? 0) > 0);
  }
}
