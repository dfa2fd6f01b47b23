import type { Device } from '../../device/device.ts';
import type { Tracer } from '../../device/trace.ts';
import type { Allocator } from '../../memory/allocator.ts';
import type { MmioAccess } from './access.ts';
import { joinWindow } from './connect.ts';
import { LegacyMmioDevice, type LegacyMmioDeviceOptions } from './legacy-device.ts';
import { LegacyMmioTransport } from './legacy-driver.ts';

/** How a device and its driver are joined. */
export interface ConnectLegacyMmioOptions extends Omit<Partial<LegacyMmioDeviceOptions>, 'trace'> {
  readonly trace?: Tracer | undefined;
  /** The driver's part of the memory; all of the first region, but for its first page, unless told. */
  readonly allocator?: Allocator;
}

/** Both ends. */
export interface ConnectedLegacyMmio {
  readonly transport: LegacyMmioTransport;
  readonly window: LegacyMmioDevice;
  readonly access: MmioAccess;
}

/** As `connectMmio`, with registers of version 1 between them: the legacy interface. */
export async function connectLegacyMmio(
  device: Device,
  options: ConnectLegacyMmioOptions = {},
): Promise<ConnectedLegacyMmio> {
  const { window, access } = joinLegacyMmio(device, options);
  return { transport: await LegacyMmioTransport.open(access, options), window, access };
}

/** @internal The window and the way to it; the driver is not there yet. */
export function joinLegacyMmio(
  device: Device,
  options: ConnectLegacyMmioOptions = {},
): Omit<ConnectedLegacyMmio, 'transport'> {
  return joinWindow(options, (host) => new LegacyMmioDevice(device, { ...options, ...host }));
}
