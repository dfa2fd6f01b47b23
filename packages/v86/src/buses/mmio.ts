import { MmioDevice } from 'virtio/transports/mmio';
import { inOrder, packedRing } from 'virtio/virtqueue';
import type { Bus } from './bus.ts';
import { mmioBus } from './mmio-windows.ts';

/** Virtio over MMIO, version 2. The guest is told of the windows by a table: `mmioTable`. */
export const mmio = (): Bus =>
  mmioBus('mmio', (device, options) => new MmioDevice(device, { ...options, packedRing, inOrder }));
