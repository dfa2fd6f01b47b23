export { PciFunction } from './device.ts';
export type * from './options.ts';
export * from './pci-registers.ts';
export * from './registers.ts';
