import type { Bus } from './bus.ts';
import { pciBus } from './pci-slots.ts';

/** Modern virtio over PCI; what `attach` takes unless told. */
export const pci = (): Bus => pciBus('pci');
