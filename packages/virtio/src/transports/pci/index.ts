export type * from './access.ts';
export type { PciBar } from './bar.ts';
export type { BarRoom, BarWindow } from './bar-probe.ts';
export type * from './capabilities.ts';
export type * from './capability-room.ts';
export { type ConnectedPci, type ConnectPciOptions, connectPci, type PciOpener } from './connect.ts';
export { PciFunction } from './device.ts';
export { PciTransport } from './driver.ts';
export type { InterruptChoice } from './driver-interrupts.ts';
export { type PciTransportOptions, virtioDeviceId } from './function-driver.ts';
export {
  legacyOnly,
  type PciLegacyOptions,
  type PciLegacySupport,
  transitional,
} from './legacy-device.ts';
export { type LegacyPciOptions, LegacyPciTransport } from './legacy-driver.ts';
export * from './legacy-registers.ts';
export { type PciMigration, pciMigration } from './migration.ts';
export { type MsixSupport, msix, msixSignals } from './msix-table.ts';
export { type OpenPciOptions, openPci } from './open-pci.ts';
export type * from './options.ts';
export { LegacyMember, type LegacyNotifyBars } from './parts/legacy-member-driver.ts';
export { PciMember } from './parts/member.ts';
export { ownPart } from './parts/own-kinds.ts';
export { ownersLegacy } from './parts/owners-legacy.ts';
export { SriovGroup } from './parts/sriov-group.ts';
export { pciCapability } from './pci-capability.ts';
export * from './pci-registers.ts';
export * from './registers.ts';
export { restorePciFunction, savePciFunction } from './saving.ts';
export { sharedMemory } from './shared-memory.ts';
export { startPciFunction, stopPciFunction } from './stopping.ts';
export { pciTracing } from './tracing.ts';
export { vendorData } from './vendor-data.ts';
export { VmmPciFunction, type VmmPciFunctionOptions } from './vmm-function.ts';
