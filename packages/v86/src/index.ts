export { mmioTable } from './acpi/mmio-table.ts';
export { type Attachment, type AttachOptions, attach } from './attach.ts';
export type { Bus, PlaceOptions } from './buses/bus.ts';
export { mmio } from './buses/mmio.ts';
export { pci } from './buses/pci.ts';
export { pciLegacy, pciTransitional } from './buses/pci-legacy.ts';
export { type MmioWindowPlace, mmioWindow } from './buses/window-place.ts';
export type { V86Emulator } from './emulator.ts';
export { reloadOnReboot } from './reload-on-reboot.ts';
