import { LegacyMmioDevice } from 'virtio/transports/mmio';
import type { Bus } from './bus.ts';
import { mmioBus } from './mmio-windows.ts';

/** Virtio over MMIO, version 1, as devices were before virtio 1.0. Otherwise as `mmio`. */
export const mmioLegacy = (): Bus =>
  mmioBus('mmio-legacy', (device, options) => new LegacyMmioDevice(device, options));
