import type { DeviceQueueState } from '../virtqueue/queue.ts';
import type { ConfigState } from './config-space.ts';
import type { Json } from './device.ts';
import type { QueueSetup } from './queue-setup.ts';

/** A device's state as JSON, for a snapshot of the machine it is in. */
export interface DeviceState {
  readonly type: number;
  readonly status: number;
  readonly driverFeatures: readonly number[];
  readonly config: ConfigState;
  readonly pendingConfig: boolean;
  /** The legacy interface was in use; `early` when its driver had not set DRIVER_OK yet, but used the device. */
  readonly legacy?: 'used' | 'early';
  /** The driver has asked for a suspend that is not done. */
  readonly suspending?: boolean;
  readonly queues: readonly SavedQueue[];
  readonly device: Json;
  /** Where there are administration virtqueues: what their driver has asked for. */
  readonly administration?: Json;
}

/** The part of a device's state that is neither status, features nor queues: JSON. */
export interface DeviceOwnState {
  readonly type: number;
  readonly config: ConfigState;
  readonly device: Json;
}

/** A queue's set-up, and its ring where it was live. */
export interface SavedQueue extends QueueSetup {
  readonly ring: DeviceQueueState | null;
}
