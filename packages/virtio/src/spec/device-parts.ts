import { bytes, le16, le32, le64, type Struct, struct, tail, u8 } from './layout.ts';

/**
 * The `part_type` of the parts that every device has (2.14.1), without their prefix `VIRTIO_DEV_PART_`; 0x102 is
 * a transport's. Wherever several stand together they stand by rising type.
 */
export const devicePart = Object.freeze({
  DEV_FEATURES: 0x100,
  DRV_FEATURES: 0x101,
  DEVICE_STATUS: 0x103,
  VQ_CFG: 0x104,
  VQ_NOTIFY_CFG: 0x105,
} as const);

/** The first `part_type` that is a device type's. */
export const commonPartsEnd = 0x200;

/** Flags of a device part. */
export const devicePartFlag = Object.freeze({ OPTIONAL: 1 } as const);

const header = {
  part_type: le16,
  flags: u8,
  reserved: u8,
  /** A union: the offset of a field, the index of a virtqueue, or what a device type makes of it. */
  selector: bytes(8),
  /** Bytes of the value that follows. */
  length: le32,
} as const;

export const virtio_dev_part_hdr: Struct<typeof header> = struct('virtio_dev_part_hdr', header);

const queueSelector = { index: le16, reserved: bytes(6) } as const;

/** The selector of VQ_CFG and VQ_NOTIFY_CFG. */
export const vq_index_selector: Struct<typeof queueSelector> = struct('vq_index', queueSelector);

const features = { feature_bits: tail(le64) } as const;

export const virtio_dev_part_features: Struct<typeof features> = struct('virtio_dev_part_features', features);

const queueConfig = {
  queue_size: le16,
  vector: le16,
  enabled: le16,
  reserved: le16,
  queue_desc: le64,
  queue_driver: le64,
  queue_device: le64,
} as const;

export const virtio_dev_part_vq_cfg: Struct<typeof queueConfig> = struct(
  'virtio_dev_part_vq_cfg',
  queueConfig,
);

const queueNotify = { queue_notify_off: le16, queue_notif_config_data: le16, reserved: bytes(4) } as const;

export const virtio_dev_part_vq_notify_data: Struct<typeof queueNotify> = struct(
  'virtio_dev_part_vq_notify_data',
  queueNotify,
);

/** What DEV_PARTS_METADATA_GET is asked for. */
export const partsMetadata = Object.freeze({ SIZE: 0, COUNT: 1, LIST: 2 } as const);

/** What DEV_PARTS_GET is asked for. */
export const partsWanted = Object.freeze({ SELECTED: 0, ALL: 1 } as const);

const request = { type: u8, reserved: bytes(7) } as const;

/** What follows the header of DEV_PARTS_METADATA_GET and of DEV_PARTS_GET. */
export const dev_parts_request: Struct<typeof request> = struct(
  'virtio_admin_cmd_dev_parts_get_data',
  request,
);

const metadata = { count: le32, reserved: le32 } as const;

/** The size, the count, or the count before the list of headers. */
export const virtio_admin_cmd_dev_parts_metadata_result: Struct<typeof metadata> = struct(
  'virtio_admin_cmd_dev_parts_metadata_result',
  metadata,
);
