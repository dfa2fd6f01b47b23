import type { MessageReader } from 'virtio/device';
import { blk, blkMessages } from 'virtio/devices/blk';
import { consoleMessages, consoleType } from 'virtio/devices/console';
import { entropy } from 'virtio/devices/entropy';
import { fs, fsMessages } from 'virtio/devices/fs';
import { net, netMessages } from 'virtio/devices/net';
import { vsock, vsockMessages } from 'virtio/devices/vsock';
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

const readers: ReadonlyMap<DeviceType, MessageReader> = new Map<DeviceType, MessageReader>([
  [net, netMessages],
  [blk, blkMessages],
  [consoleType, consoleMessages],
  [vsock, vsockMessages],
  [fs, fsMessages],
]);

/** Names what is in the messages of a type, where they are more than bytes. */
export const messagesOf = (type: DeviceType | undefined): MessageReader | undefined =>
  type && readers.get(type);

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
