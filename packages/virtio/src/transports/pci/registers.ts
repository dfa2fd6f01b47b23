import { bytes, type Fields, le16, le32, le64, type Struct, struct, u8 } from '../../spec/layout.ts';
import { RegisterBlock, type RegisterNames, structRegisters } from '../../spec/registers.ts';

/** PCI's vendor id of virtio (4.1.2). */
export const virtioVendorId = 0x1af4;

/** A non-transitional device's PCI Device ID is this plus the virtio device id. */
export const deviceIdBase = 0x1040;

/** The vector that means none. */
export const noVector = 0xffff;

/** The `cfg_type` of the virtio structure capabilities (4.1.4). */
export * as cfgType from './cfg-type.ts';

/** Bits of the ISR status (4.1.4.5). */
export * as isrBit from './isr-bit.ts';

const virtioPciCap = {
  /** 0x09: a vendor-specific capability. */
  cap_vndr: u8,
  cap_next: u8,
  /** Bytes of the whole capability. */
  cap_len: u8,
  cfg_type: u8,
  bar: u8,
  id: u8,
  padding: bytes(2),
  /** Bytes from the start of the BAR. */
  offset: le32,
  /** Bytes. */
  length: le32,
} as const;

export const virtio_pci_cap: Struct<typeof virtioPciCap> = struct('virtio_pci_cap', virtioPciCap);

/** A capability that goes on behind the fields of every one. */
/* @__NO_SIDE_EFFECTS__ */
function longer<F extends Fields>(name: string, more: F): Struct<typeof virtioPciCap & F> {
  return struct(name, { ...virtioPciCap, ...more });
}

const high = { offset_hi: le32, length_hi: le32 } as const;
export const virtio_pci_cap64: Struct<typeof virtioPciCap & typeof high> = longer('virtio_pci_cap64', high);

const multiplier = { notify_off_multiplier: le32 } as const;
export const virtio_pci_notify_cap: Struct<typeof virtioPciCap & typeof multiplier> = longer(
  'virtio_pci_notify_cap',
  multiplier,
);

const window = { pci_cfg_data: bytes(4) } as const;
export const virtio_pci_cfg_cap: Struct<typeof virtioPciCap & typeof window> = longer(
  'virtio_pci_cfg_cap',
  window,
);

const virtioPciVndrData = {
  cap_vndr: u8,
  cap_next: u8,
  cap_len: u8,
  cfg_type: u8,
  /** PCI-SIG's id of the vendor whose format follows. */
  vendor_id: le16,
} as const;
export const virtio_pci_vndr_data: Struct<typeof virtioPciVndrData> = /* @__PURE__ */ struct(
  'virtio_pci_vndr_data',
  virtioPciVndrData,
);

const virtioPciCommonCfg = {
  device_feature_select: le32,
  device_feature: le32,
  driver_feature_select: le32,
  driver_feature: le32,
  config_msix_vector: le16,
  num_queues: le16,
  device_status: u8,
  config_generation: u8,
  queue_select: le16,
  queue_size: le16,
  queue_msix_vector: le16,
  queue_enable: le16,
  queue_notify_off: le16,
  queue_desc: le64,
  queue_driver: le64,
  queue_device: le64,
  /** Exists only with VIRTIO_F_NOTIF_CONFIG_DATA. */
  queue_notif_config_data: le16,
  /** Exists only with VIRTIO_F_RING_RESET. */
  queue_reset: le16,
  admin_queue_index: le16,
  admin_queue_num: le16,
} as const;

/** The common configuration structure (4.1.4.3). */
export const virtio_pci_common_cfg: Struct<typeof virtioPciCommonCfg> = struct(
  'virtio_pci_common_cfg',
  virtioPciCommonCfg,
);

/** The common configuration's fields as registers; 64-bit ones are two: `queue_desc_lo`, `queue_desc_hi`. */
export type CommonRegister = RegisterNames<typeof virtioPciCommonCfg>;

export const commonRegisters: RegisterBlock<CommonRegister> = new RegisterBlock(
  'common',
  structRegisters(virtio_pci_common_cfg, {
    readOnly: [
      'device_feature',
      'num_queues',
      'config_generation',
      'queue_notify_off',
      'queue_notif_config_data',
      'admin_queue_index',
      'admin_queue_num',
    ],
  }),
);

export const isrRegisters: RegisterBlock<'isr_status'> = new RegisterBlock('isr', [
  { name: 'isr_status', offset: 0, width: 1, access: 'read-only' },
]);
