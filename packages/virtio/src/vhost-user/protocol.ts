/** The version that the lowest bits of a header's flags name. */
export const protocolVersion = 1;

/** The flags of a message's header. */
export const messageFlags = Object.freeze({
  /** Two bits. */
  VERSION_MASK: 0x3,
  /** On every reply. */
  REPLY: 0x4,
  /** With REPLY_ACK: a reply is wanted, whatever the message. */
  NEED_REPLY: 0x8,
} as const);

/** A feature bit that no driver sees: the front end knows protocol features. */
export const protocolFeaturesBit = 30;

/** VHOST_F_LOG_ALL, a feature bit that no driver sees: what the device writes is logged. */
export const logAllBit = 26;

/** The protocol features by their bit, without their prefix `VHOST_USER_PROTOCOL_F_`. */
export const protocolFeatures = Object.freeze({
  MQ: 0,
  LOG_SHMFD: 1,
  RARP: 2,
  REPLY_ACK: 3,
  NET_MTU: 4,
  BACKEND_REQ: 5,
  CROSS_ENDIAN: 6,
  CRYPTO_SESSION: 7,
  PAGEFAULT: 8,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  HOST_NOTIFIER: 11,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  INBAND_NOTIFICATIONS: 14,
  CONFIGURE_MEM_SLOTS: 15,
  STATUS: 16,
  XEN_MMAP: 17,
  SHARED_OBJECT: 18,
  DEVICE_STATE: 19,
  GET_VRING_BASE_INFLIGHT: 20,
  GPA_ADDRESSES: 21,
  SHMEM: 22,
} as const);

/** The name of a protocol feature. */
export type ProtocolFeatureName = keyof typeof protocolFeatures;

/** Protocol features as the messages carry them: 64 bits. */
export function protocolFeatureBits(names: Iterable<ProtocolFeatureName>): bigint {
  let bits = 0n;
  for (const name of names) bits |= 1n << BigInt(protocolFeatures[name]);
  return bits;
}

/** The protocol features that 64 bits name, and the bits that name none. */
export function protocolFeatureNames(bits: bigint): {
  readonly names: readonly ProtocolFeatureName[];
  readonly unknown: bigint;
} {
  let unknown = bits;
  const names: ProtocolFeatureName[] = [];
  for (const [name, bit] of Object.entries(protocolFeatures)) {
    if ((bits & (1n << BigInt(bit))) === 0n) continue;
    unknown &= ~(1n << BigInt(bit));
    // Object.entries forgets which keys its object has.
    names.push(name as ProtocolFeatureName);
  }
  return { names, unknown };
}

/** The flags of a ring's addresses. */
export const vringFlags = Object.freeze({
  /** VHOST_VRING_F_LOG: what is written to the used ring is logged. */
  LOG: 1,
} as const);

/** What the 64 bits of SET_VRING_KICK, SET_VRING_CALL and SET_VRING_ERR hold, and of SET_DEVICE_STATE_FD's reply. */
export const vringDescriptor = Object.freeze({
  /** Which queue; in a reply, not 0 for a failure. */
  INDEX_MASK: 0xffn,
  /** No descriptor came with the message. */
  NO_DESCRIPTOR: 0x100n,
} as const);

/** What SET_CONFIG is for. */
export const configFlags = Object.freeze({
  /** The driver writes fields that it may write. */
  WRITABLE: 0,
  /** The device moves here with its configuration, read-only fields too. */
  MIGRATION: 1,
} as const);

/** What an IOTLB message says. */
export const iotlbType = Object.freeze({ MISS: 1, UPDATE: 2, INVALIDATE: 3, ACCESS_FAIL: 4 } as const);

/** Which way a device's state goes. */
export const transferDirection = Object.freeze({
  /** From the back end to the front end. */
  SAVE: 0,
  /** From the front end to the back end. */
  LOAD: 1,
} as const);

/** When a device's state goes: there is this one phase. */
export const transferPhase = Object.freeze({ STOPPED: 0 } as const);

/** What a mapping of shared memory lets the guest do. */
export const shmemMapFlags = Object.freeze({
  /** Write as well as read. */
  READ_WRITE: 1,
} as const);

/** Bytes that the places and lengths of such a mapping are multiples of: a page, on the machines that there are. */
export const shmemPage = 4096;

/** Bytes of memory that one bit of the dirty log stands for. */
export const logPageSize = 4096;

/** What the messages bound. */
export const limits = Object.freeze({
  /** Regions in a memory table, hence descriptors with one message. */
  memoryRegions: 8,
  /** Bytes of configuration in one message. */
  configBytes: 256,
  /** Bytes that describe a crypto session. */
  cryptoSessionBytes: 4096,
  /** Shared memory regions of a device. */
  sharedMemoryRegions: 256,
  /** Mappings in one of them, each of which costs a front end a descriptor. */
  sharedMemoryMappings: 1024,
  /** Descriptors with one message of the back end. */
  backEndDescriptors: 8,
} as const);
