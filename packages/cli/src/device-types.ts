import { blk } from 'virtio/devices/blk';
import { consoleType } from 'virtio/devices/console';
import { entropy } from 'virtio/devices/entropy';
import type { DeviceType } from 'virtio/spec';

/** A device type that exists here, and where. */
export interface DeviceTypeEntry {
  readonly type: DeviceType;
  readonly sides: readonly ('device' | 'driver')[];
  readonly buses: readonly string[];
}

const bothSides = ['device', 'driver'] as const;
/** Every device type goes on every bus. */
const buses = ['loopback', 'pci'] as const;

/** Every device type that exists here, by id. */
export const deviceTypes: readonly DeviceTypeEntry[] = [
  { type: blk, sides: bothSides, buses },
  { type: consoleType, sides: bothSides, buses },
  { type: entropy, sides: bothSides, buses },
];
