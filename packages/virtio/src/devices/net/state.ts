import type { ActiveDevice } from '../../device/device.ts';
import type { TakenOffloads } from '../../link/offload.ts';
import type { NetConfig, net } from './spec.ts';
import type { Steering } from './steering.ts';

/** A driver's use of the device. */
export type NetSession = ActiveDevice<typeof net>;

/** What classes of commands may reach of their device. */
export interface NetControls {
  /** What the driver takes unfinished. */
  takes: TakenOffloads;
  /** How frames are spread over the receive queues. */
  steering: Steering;
  /** Pairs of queues that are in use: 1 until the driver asks for more. */
  pairs: number;
  readonly config: NetConfig;
  /** Sets or clears a bit of the configuration field `status`, and tells the driver. */
  setStatus(bit: number, on: boolean): void;
  /** Changes configuration fields, and tells the driver. */
  updateConfig(values: Partial<NetConfig>): void;
}
