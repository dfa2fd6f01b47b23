import { mmioGuest, withAcpiTables } from 'virtio-node/guests';
import { type Bus, mmio, mmioLegacy, mmioTable, pci, pciLegacy, pciTransitional } from 'virtio-v86';

/** A bus that `virtio run --bus` puts our devices on, and what a machine with it has besides. */
export interface RunBus {
  readonly name: Bus['name'];
  /** For people. */
  readonly title: string;
  readonly make: () => Bus;
  /** The guest is told of the devices by ACPI, which costs it some seconds at boot. */
  readonly acpi: boolean;
  /** Device types that are younger than the legacy interface can be on it. */
  readonly hasYoungTypes: boolean;
}

/** All buses, the one that is used unless told first. */
export const runBuses: readonly [RunBus, ...RunBus[]] = [
  { name: 'pci', title: 'PCI', make: pci, acpi: false, hasYoungTypes: true },
  {
    name: 'pci-transitional',
    title: 'PCI, transitional',
    make: pciTransitional,
    acpi: false,
    hasYoungTypes: false,
  },
  { name: 'pci-legacy', title: 'PCI, legacy', make: pciLegacy, acpi: false, hasYoungTypes: false },
  { name: 'mmio', title: 'MMIO', make: mmio, acpi: true, hasYoungTypes: true },
  { name: 'mmio-legacy', title: 'MMIO, legacy', make: mmioLegacy, acpi: true, hasYoungTypes: false },
];

/** What goes behind our kernel's command line. */
export function busCommandLine({ acpi }: RunBus): string {
  return acpi ? mmioGuest : '';
}

/** The initramfs for a machine with so many devices on the bus. */
export function busInitrd(
  { acpi }: RunBus,
  devices: number,
  initrd: Uint8Array | undefined,
): Uint8Array | undefined {
  if (!acpi) return initrd;
  return withAcpiTables([{ name: 'windows', data: mmioTable(devices) }], initrd ?? new Uint8Array());
}
