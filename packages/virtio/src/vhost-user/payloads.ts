import { bytes, type Codec, le16, le32, le64, type Struct, struct, tail, u8 } from '../spec/layout.ts';

// All numbers are in the byte order of the machine: see hostEndian. `le` is what most machines have.

const headerFields = { request: le32, flags: le32, size: le32 } as const;
/** What every message begins with. `size` counts the bytes of the payload. */
export const VhostUserHeader: Struct<typeof headerFields> = struct('VhostUserHeader', headerFields);

/** A payload of no bytes. */
export const noPayload: Struct<Record<never, never>> = struct('VhostUserEmpty', {});

/** One number of 64 bits. */
export const u64: Struct<{ u64: Codec<bigint> }> = struct('u64', { u64: le64 });

const vringStateFields = {
  /** Which queue. */
  index: le32,
  /** A size, an index, 0 or 1: whatever the message is about. */
  num: le32,
} as const;
/** A number of a queue. */
export const vhost_vring_state: Struct<typeof vringStateFields> = struct(
  'vhost_vring_state',
  vringStateFields,
);

const vringAddrFields = {
  index: le32,
  flags: le32,
  /** The Descriptor Area. Like the next two, an address of the front end's own. */
  desc_user_addr: le64,
  /** The Device Area. */
  used_user_addr: le64,
  /** The Driver Area. */
  avail_user_addr: le64,
  /** Guest address that stands for the Device Area in the dirty log. */
  log_guest_addr: le64,
} as const;
/** Where a queue lies. */
export const vhost_vring_addr: Struct<typeof vringAddrFields> = struct('vhost_vring_addr', vringAddrFields);

const memoryRegionFields = {
  guest_phys_addr: le64,
  memory_size: le64,
  /** The front end's own address of it. */
  userspace_addr: le64,
  /** Bytes from the start of what the descriptor stands for. */
  mmap_offset: le64,
} as const;
/** Guest memory behind one descriptor. */
export const VhostUserMemoryRegion: Struct<typeof memoryRegionFields> = struct(
  'VhostUserMemoryRegion',
  memoryRegionFields,
);

const memoryFields = { nregions: le32, padding: le32, regions: tail(VhostUserMemoryRegion) } as const;
/** All of guest memory, as many descriptors as regions. */
export const VhostUserMemory: Struct<typeof memoryFields> = struct('VhostUserMemory', memoryFields);

const memRegFields = { padding: le64, region: VhostUserMemoryRegion } as const;
/** One region, added or removed. */
export const VhostUserMemRegMsg: Struct<typeof memRegFields> = struct('VhostUserMemRegMsg', memRegFields);

const logFields = { mmap_size: le64, mmap_offset: le64 } as const;
/** The dirty log within its memory. */
export const VhostUserLog: Struct<typeof logFields> = struct('VhostUserLog', logFields);

const iotlbFields = {
  iova: le64,
  size: le64,
  uaddr: le64,
  /** 1 to read, 2 to write, 3 for both. */
  perm: u8,
  type: u8,
  padding: bytes(6),
} as const;
/** A translation, or the lack of one. */
export const vhost_iotlb_msg: Struct<typeof iotlbFields> = struct('vhost_iotlb_msg', iotlbFields);

const configFields = { offset: le32, size: le32, flags: le32, region: tail(u8) } as const;
/** A part of the configuration space: `size` bytes. A reply without any means that it cannot be had. */
export const VhostUserConfig: Struct<typeof configFields> = struct('VhostUserConfig', configFields);

const cryptoFields = { session: tail(u8) } as const;
/** A crypto session, as the two programs have agreed on it: the protocol's document does not say. */
export const VhostUserCryptoSession: Struct<typeof cryptoFields> = struct(
  'VhostUserCryptoSession',
  cryptoFields,
);

const vringAreaFields = { u64: le64, size: le64, offset: le64 } as const;
/** Where a queue's notifications may be written. */
export const VhostUserVringArea: Struct<typeof vringAreaFields> = struct(
  'VhostUserVringArea',
  vringAreaFields,
);

const inflightFields = {
  mmap_size: le64,
  mmap_offset: le64,
  num_queues: le16,
  queue_size: le16,
  /** Four bytes where the peer's compiler rounds the structure up, as all do that are known. */
  padding: tail(u8),
} as const;
/** The memory in which a back end keeps what is in flight. */
export const VhostUserInflight: Struct<typeof inflightFields> = struct('VhostUserInflight', inflightFields);

const sharedFields = { uuid: bytes(16) } as const;
/** The name of an object that devices share. */
export const VhostUserShared: Struct<typeof sharedFields> = struct('VhostUserShared', sharedFields);

const transferFields = { direction: le32, phase: le32 } as const;
/** How a device's state is to be transferred. */
export const VhostUserTransferDeviceState: Struct<typeof transferFields> = struct(
  'VhostUserTransferDeviceState',
  transferFields,
);

const mmapFields = {
  shmid: u8,
  padding: bytes(7),
  fd_offset: le64,
  shm_offset: le64,
  len: le64,
  flags: le64,
} as const;
/** A mapping in one of the device's shared memory regions. */
export const VhostUserMMap: Struct<typeof mmapFields> = struct('VhostUserMMap', mmapFields);

const shmemConfigFields = {
  /** Regions that there are: those whose size is not 0. */
  nregions: le32,
  padding: le32,
  /** By shmid; 0 where there is none. All 256 of them, though some send fewer. */
  memory_sizes: tail(le64),
} as const;
/** The sizes of the device's shared memory regions. */
export const VhostUserShMemConfig: Struct<typeof shmemConfigFields> = struct(
  'VhostUserShMemConfig',
  shmemConfigFields,
);
