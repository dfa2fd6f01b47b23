/** The drivers for which a device is lent as a whole PCI function. */
export const pciInterfaces = ['modern', 'transitional', 'legacy'] as const;

export type PciInterface = (typeof pciInterfaces)[number];
