import { legacyOnly, transitional } from 'virtio/transports/pci';
import type { Bus } from './bus.ts';
import { pciBus } from './pci-slots.ts';

/**
 * Transitional PCI functions: for modern drivers, and for those from before virtio 1.0. Only types that existed then
 * can be such: net, block, console, entropy, the traditional balloon, SCSI and 9P.
 */
export const pciTransitional = (): Bus => pciBus('pci-transitional', transitional());

/** Legacy PCI functions, as devices were before virtio 1.0. Of the same types as {@link pciTransitional}. */
export const pciLegacy = (): Bus => pciBus('pci-legacy', legacyOnly());
