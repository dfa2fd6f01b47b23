import type { Device, DeviceBehaviour } from '../../device/device.ts';
import { open } from '../../driver/open.ts';
import type { OpenDevice } from '../../driver/open-device.ts';
import type { Transport } from '../../driver/transport.ts';
import type { RegisterBlock } from '../../spec/registers.ts';
import { sample, sampleDevice } from '../pci/pci.fixture.ts';
import type { AccessWidth, MmioAccess } from './access.ts';
import { type ConnectMmioOptions, joinMmio } from './connect.ts';
import type { MmioDevice } from './device.ts';
import { configOffset, mmioRegisters } from './registers.ts';

/** An access of a driver, as it reached the window. */
export interface Seen {
  readonly kind: 'read' | 'write' | 'writeNow';
  /** The control register that is accessed as a whole; `config`, or `?` for what is none. */
  readonly name: string;
  readonly offset: number;
  readonly width: AccessWidth;
  readonly value: number;
}

/** What stands between a driver and a device: it sees every access, and may answer some itself. */
export interface Tap {
  /** The value that a read gives instead of `value`; by default that one. */
  readonly read?: (seen: Seen) => number | undefined;
  /** True swallows a write. */
  readonly write?: (seen: Seen) => boolean | undefined;
}

/** A driver's way to a sample device, with a tap in it. */
export interface Tapped {
  readonly access: MmioAccess;
  readonly window: MmioDevice;
  readonly device: Device<typeof sample>;
  readonly seen: Seen[];
  /** What the device named as wrong. */
  readonly errors: string[];
  /** The names of the registers that were accessed, oldest first. */
  names(kind?: 'read' | 'write'): string[];
}

export function tapped(
  tap: Tap = {},
  options: ConnectMmioOptions = {},
  behaviour: DeviceBehaviour<typeof sample> = {},
): Tapped {
  const errors: string[] = [];
  const device = sampleDevice({ serve: { first: () => {} }, ...behaviour });
  const { access: inner, window } = joinMmio(device, {
    ...options,
    onError: (error) => void errors.push(error.message),
  });
  const seen: Seen[] = [];
  const access = tapAccess(inner, tap, seen, mmioRegisters);
  const names = (kind?: 'read' | 'write'): string[] =>
    seen.filter((one) => kind === undefined || one.kind.startsWith(kind)).map(({ name }) => name);
  return { access, window, device, seen, errors, names };
}

/** An access with a tap in it; `registers` name what is seen. */
export function tapAccess(inner: MmioAccess, tap: Tap, seen: Seen[], registers: RegisterBlock): MmioAccess {
  const nameAt = (offset: number, width: number): string =>
    offset >= configOffset ? 'config' : (registers.find(offset, width)?.name ?? '?');
  const see = (kind: Seen['kind'], offset: number, width: AccessWidth, value: number): Seen => ({
    kind,
    name: nameAt(offset, width),
    offset,
    width,
    value,
  });
  return {
    ...inner,
    read: async (offset, width) => {
      const one = see('read', offset, width, await inner.read(offset, width));
      const value = tap.read?.(one) ?? one.value;
      seen.push({ ...one, value });
      return value;
    },
    write: async (offset, width, value) => {
      const one = see('write', offset, width, value);
      seen.push(one);
      if (tap.write?.(one) !== true) await inner.write(offset, width, value);
    },
    writeNow: (offset, width, value) => {
      seen.push(see('writeNow', offset, width, value));
      inner.writeNow(offset, width, value);
    },
  };
}

/** Opens the sample device with its first queue. */
export function openSample(
  transport: Transport,
  reserved?: Parameters<typeof open>[2]['reserved'],
  onConfigChange?: () => void,
): Promise<OpenDevice<typeof sample>> {
  return open(transport, sample, {
    features: ['LOW', 'HIGH', 'HIGHEST'],
    queueSize: 16,
    queues: () => [{ name: 'first' }],
    ...(reserved === undefined ? {} : { reserved }),
    ...(onConfigChange === undefined ? {} : { onConfigChange }),
  });
}

/** Lets interrupts arrive, and what follows from them. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}
