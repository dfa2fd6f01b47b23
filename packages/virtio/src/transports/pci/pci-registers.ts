import { le16, le32, le64, type Struct, struct, u8 } from '../../spec/layout.ts';
import { RegisterBlock, type RegisterNames, structRegisters } from '../../spec/registers.ts';

/** Bytes of a conventional PCI function's configuration space. */
export const configSpaceSize = 256;

/** Where the capabilities begin to be. */
export const firstCapabilityOffset = 0x40;

/** The space that a Base Address Register maps, and how wide it is. */
export type BarKind = 'io' | 'memory32' | 'memory64';

const header = {
  vendor_id: le16,
  device_id: le16,
  command: le16,
  status: le16,
  revision_id: u8,
  programming_interface: u8,
  subclass: u8,
  base_class: u8,
  cache_line_size: u8,
  latency_timer: u8,
  header_type: u8,
  bist: u8,
  bar0: le32,
  bar1: le32,
  bar2: le32,
  bar3: le32,
  bar4: le32,
  bar5: le32,
  cardbus_cis_pointer: le32,
  subsystem_vendor_id: le16,
  subsystem_id: le16,
  expansion_rom: le32,
  capabilities_pointer: u8,
  reserved0: u8,
  reserved1: le16,
  reserved2: le32,
  interrupt_line: u8,
  interrupt_pin: u8,
  min_grant: u8,
  max_latency: u8,
} as const;

/** The type 0 header of PCI's configuration space. */
export const pci_header: Struct<typeof header> = struct('pci_header', header);

export const headerRegisters: RegisterBlock<RegisterNames<typeof header>> = /* @__PURE__ */ new RegisterBlock(
  'pci',
  /* @__PURE__ */ structRegisters(pci_header),
);

/** PCI capability ids. */
export * as capabilityId from './capability-id.ts';
/** Bits of the command register. */
export * as commandBit from './command-bit.ts';
/** Bits of the status register. */
export * as statusBit from './status-bit.ts';

const msixCap = {
  cap_id: u8,
  cap_next: u8,
  /** Bits 0–10 the number of vectors less one, bit 14 function mask, bit 15 enable. */
  message_control: le16,
  /** Bits 0–2 the BAR, the others the offset. */
  table: le32,
  pba: le32,
} as const;

/** The MSI-X capability. */
export const msix_cap: Struct<typeof msixCap> = /* @__PURE__ */ struct('msix_cap', msixCap);

/** Bits of MSI-X message control. */
export const msixControl = /* @__PURE__ */ Object.freeze({
  SIZE: 0x7ff,
  FUNCTION_MASK: 0x4000,
  ENABLE: 0x8000,
} as const);

const msixEntry = {
  message_address: le64,
  message_data: le32,
  /** Bit 0 masks the vector. */
  vector_control: le32,
} as const;

/** One entry of the MSI-X table. */
export const msix_table_entry: Struct<typeof msixEntry> = /* @__PURE__ */ struct(
  'msix_table_entry',
  msixEntry,
);

export const msixEntryRegisters: RegisterBlock<RegisterNames<typeof msixEntry>> =
  /* @__PURE__ */ new RegisterBlock('msix', /* @__PURE__ */ structRegisters(msix_table_entry));

/** The most vectors that an MSI-X table has. */
export const maxMsixVectors = 0x800;

const anyCap = { cap_id: u8, cap_next: u8 } as const;

/** What every PCI capability begins with. */
export const pci_cap: Struct<typeof anyCap> = /* @__PURE__ */ struct('pci_cap', anyCap);
