/** A bus that `virtio run --bus` puts our devices on. */
export interface RunBus {
  readonly name: BusName;
  /** For people. */
  readonly title: string;
  /** Device types that are younger than the legacy interface can be on it. */
  readonly hasYoungTypes: boolean;
}

export type BusName = 'pci' | 'pci-transitional' | 'pci-legacy' | 'mmio' | 'mmio-legacy';

/** All buses, the one that is used unless told first. */
export const runBuses: readonly [RunBus, ...RunBus[]] = [
  { name: 'pci', title: 'PCI', hasYoungTypes: true },
  { name: 'pci-transitional', title: 'PCI, transitional', hasYoungTypes: false },
  { name: 'pci-legacy', title: 'PCI, legacy', hasYoungTypes: false },
  { name: 'mmio', title: 'MMIO', hasYoungTypes: true },
  { name: 'mmio-legacy', title: 'MMIO, legacy', hasYoungTypes: false },
];
