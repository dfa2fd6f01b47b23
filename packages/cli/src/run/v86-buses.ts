import { mmioGuest, withAcpiTables } from 'virtio-node/guests';
import { type Bus, mmio, mmioLegacy, mmioTable, pci, pciLegacy, pciTransitional } from 'virtio-v86';
import type { BusName, RunBus } from './buses.ts';

const makers: Readonly<Record<BusName, () => Bus>> = {
  pci,
  'pci-transitional': pciTransitional,
  'pci-legacy': pciLegacy,
  mmio,
  'mmio-legacy': mmioLegacy,
};

/** Makes the bus for one device. */
export const v86Bus = ({ name }: RunBus): Bus => makers[name]();

/** True where the guest is told of the devices by ACPI, which costs it some seconds at boot. */
export const needsAcpi = ({ name }: RunBus): boolean => name === 'mmio' || name === 'mmio-legacy';

/** What goes behind our kernel's command line. */
export function busCommandLine(bus: RunBus): string {
  return needsAcpi(bus) ? mmioGuest : '';
}

/** The initramfs for a machine with so many devices on the bus. */
export function busInitrd(
  bus: RunBus,
  devices: number,
  initrd: Uint8Array | undefined,
): Uint8Array | undefined {
  if (!needsAcpi(bus)) return initrd;
  return withAcpiTables([{ name: 'windows', data: mmioTable(devices) }], initrd ?? new Uint8Array());
}
