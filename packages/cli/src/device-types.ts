import { blk } from 'virtio/devices/blk';
import { consoleType } from 'virtio/devices/console';
import { entropy } from 'virtio/devices/entropy';
import { fs } from 'virtio/devices/fs';
import { net } from 'virtio/devices/net';
import { vsock } from 'virtio/devices/vsock';
import type { DeviceType } from 'virtio/spec';
import { transitionalIds } from 'virtio/transports/pci';

/** A device type that exists here, and where. */
export interface DeviceTypeEntry {
  readonly type: DeviceType;
  readonly sides: readonly ('device' | 'driver')[];
  readonly buses: readonly string[];
}

const bothSides = ['device', 'driver'] as const;

/** Every bus, the legacy ones apart: CCW by its revision. */
const modernBuses = ['pci', 'mmio', 'ccw-1', 'ccw-2'] as const;
const legacyBuses = ['pci-transitional', 'pci-legacy', 'mmio-legacy', 'ccw-0'] as const;

/** Types that exist here, by id. */
const types: readonly DeviceType[] = [net, blk, consoleType, entropy, vsock, fs];

/** Every device type that exists here, by id. */
export const deviceTypes: readonly DeviceTypeEntry[] = types.map((type) => ({
  type,
  sides: bothSides,
  buses: busesOf(type),
}));

/** A type that was there before virtio 1.0 has an id for it, and a legacy interface. */
function busesOf({ id }: DeviceType): readonly string[] {
  return transitionalIds[id] === undefined ? modernBuses : [...modernBuses, ...legacyBuses].sort();
}
