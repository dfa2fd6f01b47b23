import { be16, be32, be64, le32, type Struct, struct, tail, u8 } from '../../spec/layout.ts';

const revInfo = {
  revision: be16,
  /** Bytes of `data`. */
  length: be16,
  data: tail(u8),
} as const;

/** What SET_VIRTIO_REV carries (4.3.2.1). */
export const virtio_rev_info: Struct<typeof revInfo> = struct('virtio_rev_info', revInfo);

const configBlock = { index: be16, max_queue_size: be16 } as const;

/** What READ_VQ_CONF asks and is told (4.3.2.2). */
export const vq_config_block: Struct<typeof configBlock> = struct('vq_config_block', configBlock);

const infoBlock = {
  /** Guest addresses of the three areas. */
  desc: be64,
  res0: be32,
  index: be16,
  size: be16,
  driver: be64,
  device: be64,
} as const;

/** What SET_VQ carries from revision 1 on (4.3.2.2). */
export const vq_info_block: Struct<typeof infoBlock> = struct('vq_info_block', infoBlock);

const featureDesc = {
  features: le32,
  /** Which 32 bits of the features. */
  index: u8,
} as const;

/** What READ_FEAT and WRITE_FEAT carry (4.3.2.4): 5 bytes. */
export const virtio_feature_desc: Struct<typeof featureDesc> = struct('virtio_feature_desc', featureDesc);

const thinintArea = {
  /** The guest address of the summary indicator, a byte. */
  summary_indicator: be64,
  /** The guest address of the indicators, and the bit of the first queue there: bit 0 is a byte's highest. */
  indicator: be64,
  bit_nr: be64,
  /** The interruption subclass of the adapter interruptions. */
  isc: u8,
} as const;

/** What SET_IND_ADAPTER carries (4.3.2.6.3): 25 bytes. */
export const virtio_thinint_area: Struct<typeof thinintArea> = struct('virtio_thinint_area', thinintArea);

const indicatorAddress = { address: be64 } as const;

/** What SET_IND and SET_CONF_IND carry: the guest address of 64 indicator bits. */
export const indicator_address: Struct<typeof indicatorAddress> = struct(
  'indicator_address',
  indicatorAddress,
);

const statusByte = { status: u8 } as const;

/** What WRITE_STATUS and READ_STATUS carry. */
export const device_status: Struct<typeof statusByte> = struct('device_status', statusByte);
