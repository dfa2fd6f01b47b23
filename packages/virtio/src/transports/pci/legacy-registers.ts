import { le16, le32, type Struct, struct, u8 } from '../../spec/layout.ts';
import { RegisterBlock, type RegisterNames, structRegisters } from '../../spec/registers.ts';

/** The first PCI Device ID of transitional and legacy devices; `deviceIdBase` is behind the last. */
export const transitionalIdBase = 0x1000;

/** The Transitional PCI Device ID of each virtio device id that has one (4.1.2.1). */
export const transitionalIds: Readonly<Record<number, number>> = /* @__PURE__ */ Object.freeze({
  1: 0x1000,
  2: 0x1001,
  5: 0x1002,
  3: 0x1003,
  8: 0x1004,
  4: 0x1005,
  9: 0x1009,
});

/** Queue Address counts pages of so many bytes, and a queue's used ring begins at such a page (4.1.5.1.3.1). */
export const legacyPageSize = 4096;

/** The BAR of the legacy interface, which is one of I/O ports. */
export const legacyBar = 0;

const virtioPciLegacy = {
  /** Feature bits 0 to 31. */
  device_features: le32,
  driver_features: le32,
  /** The page where the selected queue begins; 0 where it is not placed. */
  queue_address: le32,
  queue_size: le16,
  queue_select: le16,
  queue_notify: le16,
  device_status: u8,
  isr_status: u8,
  /** These two exist while MSI-X is enabled; else the device's own configuration is here. */
  config_msix_vector: le16,
  queue_msix_vector: le16,
} as const;

/** The legacy configuration structure (4.1.4.10), which the specification gives no name. */
export const virtio_pci_legacy: Struct<typeof virtioPciLegacy> = /* @__PURE__ */ struct(
  'virtio_pci_legacy',
  virtioPciLegacy,
);

export type LegacyRegister = RegisterNames<typeof virtioPciLegacy>;

/** The legacy configuration structure's fields as registers. */
export const legacyRegisters: RegisterBlock<LegacyRegister> = /* @__PURE__ */ new RegisterBlock(
  'legacy',
  /* @__PURE__ */ structRegisters(virtio_pci_legacy, {
    readOnly: ['device_features', 'queue_size', 'isr_status'],
  }),
);

/** Where the device's own configuration begins, in bytes: it moves when MSI-X is switched on or off. */
export function legacyConfigOffset(msixEnabled: boolean): number {
  return msixEnabled ? virtio_pci_legacy.size : virtio_pci_legacy.field.config_msix_vector.offset;
}
