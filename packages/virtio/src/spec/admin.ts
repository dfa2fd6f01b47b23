import type { CapabilityType } from './capability.ts';
import { bytes, le16, le32, le64, type Struct, struct, u8 } from './layout.ts';
import type { ResourceObjectKind } from './resource-object.ts';

/** The types of device groups (2.12). */
export const groupType = Object.freeze({ SELF: 0, SR_IOV: 1 } as const);

/**
 * The opcodes of group administration commands (2.12.1), without their prefix `VIRTIO_ADMIN_CMD_`. For QUERY
 * and MODIFY of resource objects the text of 2.12.1.3 has the two values the other way round; the table of
 * opcodes calls itself the list of the valid ones.
 */
export const adminOpcode = Object.freeze({
  LIST_QUERY: 0x0,
  LIST_USE: 0x1,
  LEGACY_COMMON_CFG_WRITE: 0x2,
  LEGACY_COMMON_CFG_READ: 0x3,
  LEGACY_DEV_CFG_WRITE: 0x4,
  LEGACY_DEV_CFG_READ: 0x5,
  LEGACY_NOTIFY_INFO: 0x6,
  CAP_ID_LIST_QUERY: 0x7,
  DEVICE_CAP_GET: 0x8,
  DRIVER_CAP_SET: 0x9,
  RESOURCE_OBJ_CREATE: 0xa,
  RESOURCE_OBJ_QUERY: 0xb,
  RESOURCE_OBJ_MODIFY: 0xc,
  RESOURCE_OBJ_DESTROY: 0xd,
  DEV_PARTS_METADATA_GET: 0xe,
  DEV_PARTS_GET: 0xf,
  DEV_PARTS_SET: 0x10,
  DEV_MODE_SET: 0x11,
} as const);

/** The name of a group administration command. */
export type AdminCommandName = keyof typeof adminOpcode;

/**
 * What became of a command: Linux's error numbers. EEXIST is named in 2.12.1.3.5 and missing from the table
 * of values; it is the number that Linux has.
 */
export const adminStatus = Object.freeze({
  OK: 0,
  ENXIO: 6,
  EAGAIN: 11,
  ENOMEM: 12,
  EBUSY: 16,
  EEXIST: 17,
  EINVAL: 22,
  ENOSPC: 28,
} as const);

/** The name of a command's result. */
export type AdminStatusName = keyof typeof adminStatus;

/** What exactly a command failed by. */
export const adminQualifier = Object.freeze({
  OK: 0,
  INVALID_COMMAND: 1,
  INVALID_OPCODE: 2,
  INVALID_FIELD: 3,
  INVALID_GROUP: 4,
  INVALID_MEMBER: 5,
  NORESOURCE: 6,
  TRYAGAIN: 7,
} as const);

/** The name of a qualifier. */
export type AdminQualifierName = keyof typeof adminQualifier;

const readable = {
  opcode: le16,
  group_type: le16,
  reserved1: bytes(12),
  group_member_id: le64,
} as const;

/** The device-readable part of `struct virtio_admin_cmd`, without what the command appends to it. */
export const virtio_admin_cmd: Struct<typeof readable> = struct('virtio_admin_cmd', readable);

const writable = { status: le16, status_qualifier: le16, reserved2: bytes(4) } as const;

/** The device-writable part of `struct virtio_admin_cmd`, without what the command appends to it. */
export const virtio_admin_cmd_answer: Struct<typeof writable> = struct('virtio_admin_cmd', writable);

const legacyWrite = { offset: u8, reserved: bytes(7) } as const;

/** Where a legacy driver writes; the bytes follow, and nothing behind them tells how many they are. */
export const virtio_admin_cmd_legacy_wr_data: Struct<typeof legacyWrite> = struct(
  'virtio_admin_cmd_legacy_common_cfg_wr_data',
  legacyWrite,
);

const legacyRead = { offset: u8 } as const;

/** Where a legacy driver reads: as many bytes as the command's result has room for. */
export const virtio_admin_cmd_legacy_rd_data: Struct<typeof legacyRead> = struct(
  'virtio_admin_cmd_legacy_common_cfg_rd_data',
  legacyRead,
);

const capId = { id: le16, reserved: bytes(6) } as const;

/** Which capability a command is about; also the start of `struct virtio_admin_cmd_cap_set_data`. */
export const virtio_admin_cmd_cap_get_data: Struct<typeof capId> = struct(
  'virtio_admin_cmd_cap_get_data',
  capId,
);

const objectHeader = { type: le16, reserved: bytes(2), id: le32 } as const;

/** Which resource object a command is about. */
export const virtio_admin_cmd_resource_obj_cmd_hdr: Struct<typeof objectHeader> = struct(
  'virtio_admin_cmd_resource_obj_cmd_hdr',
  objectHeader,
);

const objectCreate = { ...objectHeader, flags: le64 } as const;

/** What stands before the object's own data when it is created; it is the same for MODIFY and QUERY. */
export const virtio_admin_cmd_resource_obj_create_data: Struct<typeof objectCreate> = struct(
  'virtio_admin_cmd_resource_obj_create_data',
  objectCreate,
);

const modeSet = { flags: u8 } as const;

export const virtio_admin_cmd_dev_mode_set_data: Struct<typeof modeSet> = struct(
  'virtio_admin_cmd_dev_mode_set_data',
  modeSet,
);

/** Flags of DEV_MODE_SET. */
export const deviceMode = Object.freeze({ STOPPED: 1 } as const);

/** The ids of the capabilities that every device type can have (2.12.1.2). */
export const commonCapability = Object.freeze({ DEV_PARTS: 0 } as const);

/** The first id that is no capability's: those of all device types come before it. */
export const capabilityIdsEnd = 0x1000;

/** The resource object types that every device type can have (2.12.1.3). */
export const commonResourceObject = Object.freeze({ DEV_PARTS: 0 } as const);

const partsCap = { get_parts_resource_objects_limit: u8, set_parts_resource_objects_limit: u8 } as const;

export const virtio_dev_parts_cap: Struct<typeof partsCap> = struct('virtio_dev_parts_cap', partsCap);

const partsObject = { type: u8, reserved: bytes(7) } as const;

export const virtio_resource_obj_dev_parts: Struct<typeof partsObject> = struct(
  'virtio_resource_obj_dev_parts',
  partsObject,
);

/** What a device parts object is for. */
export const devPartsObjectType = Object.freeze({ GET: 0, SET: 1 } as const);

/** VIRTIO_DEV_PARTS_CAP: how many device parts objects there may be. */
export const devPartsCapability: CapabilityType<typeof partsCap> = {
  id: commonCapability.DEV_PARTS,
  layout: virtio_dev_parts_cap,
  rules: { get_parts_resource_objects_limit: 'limit', set_parts_resource_objects_limit: 'limit' },
};

const { get_parts_resource_objects_limit: mostGet, set_parts_resource_objects_limit: mostSet } =
  virtio_dev_parts_cap.field;

/** VIRTIO_RESOURCE_OBJ_DEV_PARTS: one limit for each of its two purposes, one range of ids for both. */
export const devPartsObject: ResourceObjectKind<typeof partsObject> = {
  type: commonResourceObject.DEV_PARTS,
  name: 'device parts',
  layout: virtio_resource_obj_dev_parts,
  capability: commonCapability.DEV_PARTS,
  limit: (limits) => mostGet.get(limits) + mostSet.get(limits),
  fits(limits, objects) {
    const count = (type: number): number => objects.filter(({ value }) => value.type === type).length;
    return (
      count(devPartsObjectType.GET) <= mostGet.get(limits) &&
      count(devPartsObjectType.SET) <= mostSet.get(limits)
    );
  },
};
