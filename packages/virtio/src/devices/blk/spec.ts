import { type DeviceType, deviceType } from '../../spec/device-type.ts';
import { bytes, type Codec, le16, le32, le64, type Struct, struct, u8 } from '../../spec/layout.ts';

/** Everything in the protocol counts in sectors of 512 bytes, whatever the disk's own block is. */
export const sectorSize = 512;

/** Disk-style geometry (VIRTIO_BLK_F_GEOMETRY). */
export const virtio_blk_geometry: Struct<{
  cylinders: Codec<number>;
  heads: Codec<number>;
  sectors: Codec<number>;
}> = struct('virtio_blk_geometry', { cylinders: le16, heads: u8, sectors: u8 });

/** How requests are best laid out (VIRTIO_BLK_F_TOPOLOGY). */
export const virtio_blk_topology: Struct<{
  physical_block_exp: Codec<number>;
  alignment_offset: Codec<number>;
  min_io_size: Codec<number>;
  opt_io_size: Codec<number>;
}> = struct('virtio_blk_topology', {
  /** Logical blocks in a physical one, as a power of two. */
  physical_block_exp: u8,
  /** In logical blocks, like the sizes that follow. */
  alignment_offset: u8,
  min_io_size: le16,
  opt_io_size: le32,
});

/** What kind of zones a disk has (VIRTIO_BLK_F_ZONED). */
export const virtio_blk_zoned_characteristics: Struct<{
  zone_sectors: Codec<number>;
  max_open_zones: Codec<number>;
  max_active_zones: Codec<number>;
  max_append_sectors: Codec<number>;
  write_granularity: Codec<number>;
  model: Codec<number>;
  unused2: Codec<Uint8Array>;
}> = struct('virtio_blk_zoned_characteristics', {
  zone_sectors: le32,
  /** 0 means that there is no limit; likewise the next. */
  max_open_zones: le32,
  max_active_zones: le32,
  max_append_sectors: le32,
  /** Bytes. */
  write_granularity: le32,
  model: u8,
  unused2: bytes(3),
});

const configFields = {
  /** Sectors. */
  capacity: le64,
  /** Bytes in one element of a request's data. */
  size_max: le32,
  seg_max: le32,
  geometry: virtio_blk_geometry,
  /** Bytes. */
  blk_size: le32,
  topology: virtio_blk_topology,
  /** 0 writethrough, 1 writeback. */
  writeback: u8,
  unused0: u8,
  num_queues: le16,
  max_discard_sectors: le32,
  max_discard_seg: le32,
  discard_sector_alignment: le32,
  max_write_zeroes_sectors: le32,
  max_write_zeroes_seg: le32,
  write_zeroes_may_unmap: u8,
  unused1: bytes(3),
  max_secure_erase_sectors: le32,
  max_secure_erase_seg: le32,
  secure_erase_sector_alignment: le32,
  zoned: virtio_blk_zoned_characteristics,
} as const;

/** The configuration structure of a block device. */
export const virtio_blk_config: Struct<typeof configFields> = struct('virtio_blk_config', configFields);

/** The block device: a disk. */
export const blk: DeviceType<
  | 'SIZE_MAX'
  | 'SEG_MAX'
  | 'GEOMETRY'
  | 'RO'
  | 'BLK_SIZE'
  | 'FLUSH'
  | 'TOPOLOGY'
  | 'CONFIG_WCE'
  | 'MQ'
  | 'DISCARD'
  | 'WRITE_ZEROES'
  | 'LIFETIME'
  | 'SECURE_ERASE'
  | 'ZONED',
  'requestq',
  typeof configFields
> = deviceType({
  id: 2,
  name: 'blk',
  queues: { requestq: { from: 0 } },
  features: {
    SIZE_MAX: 1,
    SEG_MAX: 2,
    GEOMETRY: 4,
    RO: 5,
    BLK_SIZE: 6,
    FLUSH: 9,
    TOPOLOGY: 10,
    CONFIG_WCE: 11,
    MQ: 12,
    DISCARD: 13,
    WRITE_ZEROES: 14,
    LIFETIME: 15,
    SECURE_ERASE: 16,
    ZONED: 17,
  },
  config: virtio_blk_config,
  configRequires: {
    size_max: 'SIZE_MAX',
    seg_max: 'SEG_MAX',
    geometry: 'GEOMETRY',
    blk_size: 'BLK_SIZE',
    topology: 'TOPOLOGY',
    writeback: 'CONFIG_WCE',
    num_queues: 'MQ',
    max_discard_sectors: 'DISCARD',
    max_discard_seg: 'DISCARD',
    discard_sector_alignment: 'DISCARD',
    max_write_zeroes_sectors: 'WRITE_ZEROES',
    max_write_zeroes_seg: 'WRITE_ZEROES',
    write_zeroes_may_unmap: 'WRITE_ZEROES',
    max_secure_erase_sectors: 'SECURE_ERASE',
    max_secure_erase_seg: 'SECURE_ERASE',
    secure_erase_sector_alignment: 'SECURE_ERASE',
    zoned: 'ZONED',
  },
  driverWritable: ['writeback'],
  legacy: { features: { BARRIER: 0, SCSI: 7 } },
  // SCSI storage, as every other virtio block device says.
  pciClass: 0x0100,
});
