import type { Device, DeviceBehaviour } from '../../device/device.ts';
import { open } from '../../driver/open.ts';
import type { OpenDevice } from '../../driver/open-device.ts';
import type { Transport } from '../../driver/transport.ts';
import type { AccessWidth, PciAccess } from './access.ts';
import { type ConnectPciOptions, joinPci, room } from './connect.ts';
import type { PciFunction } from './device.ts';
import { PciTransport } from './driver.ts';
import type { PciTransportOptions } from './function-driver.ts';
import { oldSample, sample, sampleDevice } from './pci.fixture.ts';

/** An access of a driver, as it reached the bus. */
export interface Seen {
  readonly kind: 'configRead' | 'configWrite' | 'barRead' | 'barWrite' | 'barWriteNow';
  /** -1 for configuration space. */
  readonly bar: number;
  readonly offset: number;
  readonly width: AccessWidth;
  readonly value: number;
}

/** What stands between a driver and a function: it sees every access, and may answer some itself. */
export interface Tap {
  /** The value that a read gives instead of `value`; by default that one. */
  readonly read?: (seen: Seen) => number | undefined;
}

/** A driver's way to a sample device, with a tap in it. */
export interface Tapped {
  readonly access: PciAccess;
  readonly pciFunction: PciFunction;
  readonly device: Device<typeof sample>;
  readonly seen: Seen[];
  /** What the device named as wrong. */
  readonly errors: string[];
  open(options?: PciTransportOptions): Promise<PciTransport>;
}

export function tapped(
  tap: Tap = {},
  options: ConnectPciOptions = {},
  behaviour: DeviceBehaviour<typeof sample> = {},
): Tapped {
  const seen: Seen[] = [];
  const errors: string[] = [];
  const type = options.pciFunction?.legacy === undefined ? sample : oldSample;
  const device = sampleDevice({ serve: { first: () => {} }, ...behaviour }, type);
  const { access: inner, pciFunction } = joinPci(device, {
    ...options,
    onError: (error) => void errors.push(error.message),
  });
  const read = (one: Seen): number => {
    const value = tap.read?.(one) ?? one.value;
    seen.push({ ...one, value });
    return value;
  };
  const access: PciAccess = {
    ...inner,
    configRead: async (offset, width) =>
      read({ kind: 'configRead', bar: -1, offset, width, value: await inner.configRead(offset, width) }),
    barRead: async (bar, offset, width) =>
      read({ kind: 'barRead', bar, offset, width, value: await inner.barRead(bar, offset, width) }),
    configWrite: (offset, width, value) => {
      seen.push({ kind: 'configWrite', bar: -1, offset, width, value });
      return inner.configWrite(offset, width, value);
    },
    barWrite: (bar, offset, width, value) => {
      seen.push({ kind: 'barWrite', bar, offset, width, value });
      return inner.barWrite(bar, offset, width, value);
    },
    barWriteNow: (bar, offset, width, value) => {
      seen.push({ kind: 'barWriteNow', bar, offset, width, value });
      inner.barWriteNow(bar, offset, width, value);
    },
  };
  return {
    access,
    pciFunction,
    device,
    seen,
    errors,
    open: (own = {}) => PciTransport.open(access, { room, ...options, ...own }),
  };
}

/** Opens the sample device with its first queue. */
export function openSample(
  transport: Transport,
  reserved?: Parameters<typeof open>[2]['reserved'],
  onConfigChange?: () => void,
): Promise<OpenDevice<typeof sample>> {
  const type = transport.deviceId === oldSample.id ? oldSample : sample;
  return open(transport, type, {
    features: ['LOW', 'HIGH', 'HIGHEST'],
    queueSize: 16,
    queues: () => [{ name: 'first' }],
    ...(reserved === undefined ? {} : { reserved }),
    ...(onConfigChange === undefined ? {} : { onConfigChange }),
  });
}
