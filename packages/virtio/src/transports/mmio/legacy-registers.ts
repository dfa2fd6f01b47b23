import { RegisterBlock } from '../../spec/registers.ts';
import { control, legacyOnlyRegisters, type SharedRegister, sharedRegisters } from './registers.ts';

const own = [
  control('HostFeatures', 0x010, 'read-only'),
  control('HostFeaturesSel', 0x014, 'write-only'),
  control('GuestFeatures', 0x020, 'write-only'),
  control('GuestFeaturesSel', 0x024, 'write-only'),
  ...legacyOnlyRegisters,
] as const;

/** A control register of version 1. */
export type LegacyMmioRegister = SharedRegister | (typeof own)[number]['name'];

/** The control registers of version 1, the legacy interface (4.2.4). */
export const legacyMmioRegisters: RegisterBlock<LegacyMmioRegister> =
  /* @__PURE__ */ new RegisterBlock<LegacyMmioRegister>('mmio-legacy', [...sharedRegisters, ...own]);
