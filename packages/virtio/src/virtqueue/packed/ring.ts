import type { DeviceRing } from '../device-ring.ts';
import { PackedDeviceQueue } from './device.ts';
import { packedFormat } from './layout.ts';

/**
 * Packed virtqueues (2.8), for a transport to be given: its devices offer VIRTIO_F_RING_PACKED then. One that is not
 * given it leaves the code out of the bundle.
 *
 * @example
 * new PciFunction(device, { memory, packedRing });
 */
export const packedRing: DeviceRing = {
  format: packedFormat,
  make: (memory, areas, options, restored) => new PackedDeviceQueue(memory, areas, options, restored),
};
