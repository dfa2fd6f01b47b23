import { bits, type Codec, le16, le32, le64, type Struct, struct } from '../../spec/layout.ts';

/** VIRTIO_BLK_T_*: what a request asks for. */
export const requestType = Object.freeze({
  IN: 0,
  OUT: 1,
  FLUSH: 4,
  GET_ID: 8,
  GET_LIFETIME: 10,
  DISCARD: 11,
  WRITE_ZEROES: 13,
  SECURE_ERASE: 14,
  ZONE_APPEND: 15,
  ZONE_REPORT: 16,
  ZONE_OPEN: 18,
  ZONE_CLOSE: 20,
  ZONE_FINISH: 22,
  ZONE_RESET: 24,
  ZONE_RESET_ALL: 26,
} as const);

/** VIRTIO_BLK_S_*: the last byte of every request. */
export const requestStatus = Object.freeze({
  OK: 0,
  IOERR: 1,
  UNSUPP: 2,
  ZONE_INVALID_CMD: 3,
  ZONE_UNALIGNED_WP: 4,
  ZONE_OPEN_RESOURCE: 5,
  ZONE_ACTIVE_RESOURCE: 6,
} as const);

/** The name of a request status. */
export type RequestStatusName = keyof typeof requestStatus;

/** A status by its name, or its number where it has none. */
export function requestStatusName(value: number): RequestStatusName | `status ${number}` {
  let name: RequestStatusName;
  for (name in requestStatus) if (requestStatus[name] === value) return name;
  return `status ${value}`;
}

/** A request type by its name, or its number where it has none. */
export function requestTypeName(value: number): string {
  const entry = Object.entries(requestType).find(([, number]) => number === value);
  return entry?.[0] ?? `type ${value}`;
}

/** What every request begins with. Data follow, and one byte of status. */
export const virtio_blk_req: Struct<{
  type: Codec<number>;
  reserved: Codec<number>;
  sector: Codec<bigint>;
}> = struct('virtio_blk_req', { type: le32, reserved: le32, sector: le64 });

/** A range of sectors to discard, to fill with zeroes or to erase. */
export const virtio_blk_discard_write_zeroes: Struct<{
  sector: Codec<bigint>;
  num_sectors: Codec<number>;
  flags: Codec<{ readonly unmap: number; readonly reserved: number }>;
}> = struct('virtio_blk_discard_write_zeroes', {
  sector: le64,
  num_sectors: le32,
  flags: bits(le32, { unmap: 1, reserved: 31 }),
});

/** Bytes that GET_ID asks for. */
export const idLength = 20;

/** What GET_LIFETIME answers. */
export const virtio_blk_lifetime: Struct<{
  pre_eol_info: Codec<number>;
  device_lifetime_est_typ_a: Codec<number>;
  device_lifetime_est_typ_b: Codec<number>;
}> = struct('virtio_blk_lifetime', {
  pre_eol_info: le16,
  device_lifetime_est_typ_a: le16,
  device_lifetime_est_typ_b: le16,
});

/** VIRTIO_BLK_PRE_EOL_INFO_*: how many of the reserved blocks are gone. */
export const preEolInfo = Object.freeze({ UNDEFINED: 0, NORMAL: 1, WARNING: 2, URGENT: 3 } as const);

/** The largest wear estimate that is not reserved: the lifetime is exceeded. */
export const lifetimeEstimateMax = 11;
