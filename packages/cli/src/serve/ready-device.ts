import type { Device } from 'virtio/device';
import type { HostError } from 'virtio/errors';
import type { ServePlan } from './plan.ts';

/** A device that is ready to be served. */
export interface ReadyDevice {
  readonly device: Device;
  /** What there is to know of it, for people. */
  readonly lines?: readonly string[];
  /** Makes everything stable and lets go of it. */
  close(): Promise<void>;
}

/** Whom a device tells what becomes of it. */
export interface ServedEvents {
  /** What lies beneath it fails. */
  readonly onError: (error: HostError) => void;
  /** Something to know of. */
  readonly notice: (message: string) => void;
}

/** Makes a device as it is planned. */
export type MakeDevice = (plan: ServePlan, events: ServedEvents) => Promise<ReadyDevice>;

export const nothing = async (): Promise<void> => {};
