import type { NetDevice } from 'virtio/devices/net';
import type { CableOptions } from 'virtio/link';

/** A device that is to be joined to something. */
export interface Join {
  readonly device: NetDevice;
  readonly options: CableOptions;
  /** What is to be done at the end, the last first. */
  readonly closing: (() => unknown)[];
  notice(message: string): void;
}
