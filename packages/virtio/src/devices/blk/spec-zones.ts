import { bytes, type Codec, le64, type Struct, struct, u8 } from '../../spec/layout.ts';

/** VIRTIO_BLK_Z_*: the `model` of a disk. */
export const zoneModel = Object.freeze({ NONE: 0, HM: 1, HA: 2 } as const);

/** VIRTIO_BLK_ZT_*: the type of a zone. */
export const zoneType = Object.freeze({ CONV: 1, SWR: 2, SWP: 3 } as const);

/** VIRTIO_BLK_ZS_*: the state of a zone. */
export const zoneState = Object.freeze({
  NOT_WP: 0,
  EMPTY: 1,
  IOPEN: 2,
  EOPEN: 3,
  CLOSED: 4,
  RDONLY: 13,
  FULL: 14,
  OFFLINE: 15,
} as const);

export type ZoneTypeName = keyof typeof zoneType;
export type ZoneStateName = keyof typeof zoneState;

/** One zone in a report; sectors. */
export const virtio_blk_zone_descriptor: Struct<{
  z_cap: Codec<bigint>;
  z_start: Codec<bigint>;
  z_wp: Codec<bigint>;
  z_type: Codec<number>;
  z_state: Codec<number>;
  reserved: Codec<Uint8Array>;
}> = struct('virtio_blk_zone_descriptor', {
  z_cap: le64,
  z_start: le64,
  z_wp: le64,
  z_type: u8,
  z_state: u8,
  reserved: bytes(38),
});

/** The head of a zone report; descriptors follow. */
export const virtio_blk_zone_report: Struct<{ nr_zones: Codec<bigint>; reserved: Codec<Uint8Array> }> =
  struct('virtio_blk_zone_report', { nr_zones: le64, reserved: bytes(56) });
