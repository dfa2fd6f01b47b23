import type { Fields, Struct, StructValue } from '../spec/layout.ts';
import {
  noPayload,
  u64,
  VhostUserConfig,
  VhostUserCryptoSession,
  VhostUserInflight,
  VhostUserLog,
  VhostUserMemory,
  VhostUserMemoryRegion,
  VhostUserMemRegMsg,
  VhostUserMMap,
  VhostUserShared,
  VhostUserShMemConfig,
  VhostUserTransferDeviceState,
  VhostUserVringArea,
  vhost_iotlb_msg,
  vhost_vring_addr,
  vhost_vring_state,
} from './payloads.ts';
import { limits, type ProtocolFeatureName } from './protocol.ts';

/** One message of the protocol: what it carries there and back. */
export interface MessageForm {
  readonly id: number;
  readonly payload: Struct<Fields>;
  /** The most bytes of a payload whose end varies; its fixed size unless told. */
  readonly mostBytes?: number;
  /** The fewest and the most descriptors with it; none unless told. */
  readonly descriptors?: readonly [fewest: number, most: number];
  /** What answers it, always. Without one, an acknowledgement does, where REPLY_ACK was negotiated and one is wanted. */
  readonly reply?: Struct<Fields>;
  readonly mostReplyBytes?: number;
  /** A reply without payload tells of a failure. */
  readonly emptyReplyOnFailure?: boolean;
  readonly replyDescriptors?: readonly [fewest: number, most: number];
  /** The protocol feature without which it must not be sent. */
  readonly requires?: ProtocolFeatureName;
}

/** Messages of one direction by name. */
export type MessageForms = Readonly<Record<string, MessageForm>>;

const mostMemory = VhostUserMemory.size + limits.memoryRegions * VhostUserMemoryRegion.size;
const mostConfig = VhostUserConfig.size + limits.configBytes;
const mostInflight = VhostUserInflight.size + 4;

/** What a front end sends, without the prefix `VHOST_USER_`. */
export const frontEndMessages = Object.freeze({
  GET_FEATURES: { id: 1, payload: noPayload, reply: u64 },
  SET_FEATURES: { id: 2, payload: u64 },
  SET_OWNER: { id: 3, payload: noPayload },
  RESET_OWNER: { id: 4, payload: noPayload },
  SET_MEM_TABLE: {
    id: 5,
    payload: VhostUserMemory,
    mostBytes: mostMemory,
    descriptors: [0, limits.memoryRegions],
  },
  SET_LOG_BASE: {
    id: 6,
    payload: VhostUserLog,
    descriptors: [1, 1],
    reply: noPayload,
    requires: 'LOG_SHMFD',
  },
  SET_LOG_FD: { id: 7, payload: noPayload, descriptors: [1, 1] },
  SET_VRING_NUM: { id: 8, payload: vhost_vring_state },
  SET_VRING_ADDR: { id: 9, payload: vhost_vring_addr },
  SET_VRING_BASE: { id: 10, payload: vhost_vring_state },
  GET_VRING_BASE: { id: 11, payload: vhost_vring_state, reply: vhost_vring_state },
  SET_VRING_KICK: { id: 12, payload: u64, descriptors: [0, 1] },
  SET_VRING_CALL: { id: 13, payload: u64, descriptors: [0, 1] },
  SET_VRING_ERR: { id: 14, payload: u64, descriptors: [0, 1] },
  GET_PROTOCOL_FEATURES: { id: 15, payload: noPayload, reply: u64 },
  SET_PROTOCOL_FEATURES: { id: 16, payload: u64 },
  GET_QUEUE_NUM: { id: 17, payload: noPayload, reply: u64, requires: 'MQ' },
  SET_VRING_ENABLE: { id: 18, payload: vhost_vring_state },
  SEND_RARP: { id: 19, payload: u64, requires: 'RARP' },
  NET_SET_MTU: { id: 20, payload: u64, requires: 'NET_MTU' },
  SET_BACKEND_REQ_FD: { id: 21, payload: noPayload, descriptors: [1, 1], requires: 'BACKEND_REQ' },
  IOTLB_MSG: { id: 22, payload: vhost_iotlb_msg, reply: u64 },
  SET_VRING_ENDIAN: { id: 23, payload: vhost_vring_state, requires: 'CROSS_ENDIAN' },
  GET_CONFIG: {
    id: 24,
    payload: VhostUserConfig,
    mostBytes: mostConfig,
    reply: VhostUserConfig,
    mostReplyBytes: mostConfig,
    emptyReplyOnFailure: true,
    requires: 'CONFIG',
  },
  SET_CONFIG: { id: 25, payload: VhostUserConfig, mostBytes: mostConfig, requires: 'CONFIG' },
  CREATE_CRYPTO_SESSION: {
    id: 26,
    payload: VhostUserCryptoSession,
    mostBytes: limits.cryptoSessionBytes,
    reply: VhostUserCryptoSession,
    mostReplyBytes: limits.cryptoSessionBytes,
    requires: 'CRYPTO_SESSION',
  },
  CLOSE_CRYPTO_SESSION: { id: 27, payload: u64, requires: 'CRYPTO_SESSION' },
  POSTCOPY_ADVISE: {
    id: 28,
    payload: noPayload,
    reply: noPayload,
    replyDescriptors: [0, 1],
    requires: 'PAGEFAULT',
  },
  POSTCOPY_LISTEN: { id: 29, payload: noPayload, requires: 'PAGEFAULT' },
  POSTCOPY_END: { id: 30, payload: noPayload, reply: u64, requires: 'PAGEFAULT' },
  GET_INFLIGHT_FD: {
    id: 31,
    payload: VhostUserInflight,
    mostBytes: mostInflight,
    reply: VhostUserInflight,
    mostReplyBytes: mostInflight,
    replyDescriptors: [0, 1],
    requires: 'INFLIGHT_SHMFD',
  },
  SET_INFLIGHT_FD: {
    id: 32,
    payload: VhostUserInflight,
    mostBytes: mostInflight,
    descriptors: [1, 1],
    requires: 'INFLIGHT_SHMFD',
  },
  GPU_SET_SOCKET: { id: 33, payload: noPayload, descriptors: [1, 1] },
  RESET_DEVICE: { id: 34, payload: noPayload, requires: 'RESET_DEVICE' },
  VRING_KICK: { id: 35, payload: vhost_vring_state, requires: 'INBAND_NOTIFICATIONS' },
  GET_MAX_MEM_SLOTS: { id: 36, payload: noPayload, reply: u64, requires: 'CONFIGURE_MEM_SLOTS' },
  ADD_MEM_REG: { id: 37, payload: VhostUserMemRegMsg, descriptors: [1, 1], requires: 'CONFIGURE_MEM_SLOTS' },
  // Some front ends send a descriptor, of which no use is made.
  REM_MEM_REG: { id: 38, payload: VhostUserMemRegMsg, descriptors: [0, 1], requires: 'CONFIGURE_MEM_SLOTS' },
  SET_STATUS: { id: 39, payload: u64, requires: 'STATUS' },
  GET_STATUS: { id: 40, payload: noPayload, reply: u64, requires: 'STATUS' },
  GET_SHARED_OBJECT: {
    id: 41,
    payload: VhostUserShared,
    reply: VhostUserShared,
    replyDescriptors: [0, 1],
    requires: 'SHARED_OBJECT',
  },
  SET_DEVICE_STATE_FD: {
    id: 42,
    payload: VhostUserTransferDeviceState,
    descriptors: [1, 1],
    reply: u64,
    replyDescriptors: [0, 1],
    requires: 'DEVICE_STATE',
  },
  CHECK_DEVICE_STATE: { id: 43, payload: noPayload, reply: u64, requires: 'DEVICE_STATE' },
  GET_SHMEM_CONFIG: {
    id: 44,
    payload: noPayload,
    reply: VhostUserShMemConfig,
    mostReplyBytes: VhostUserShMemConfig.size + limits.sharedMemoryRegions * 8,
    requires: 'SHMEM',
  },
} as const satisfies MessageForms);

/** What a back end sends over the channel of its own, without the prefix `VHOST_USER_BACKEND_`. */
export const backEndMessages = Object.freeze({
  IOTLB_MSG: { id: 1, payload: vhost_iotlb_msg },
  CONFIG_CHANGE_MSG: { id: 2, payload: noPayload, requires: 'CONFIG' },
  VRING_HOST_NOTIFIER_MSG: {
    id: 3,
    payload: VhostUserVringArea,
    descriptors: [0, 1],
    requires: 'HOST_NOTIFIER',
  },
  VRING_CALL: { id: 4, payload: vhost_vring_state, requires: 'INBAND_NOTIFICATIONS' },
  VRING_ERR: { id: 5, payload: vhost_vring_state, requires: 'INBAND_NOTIFICATIONS' },
  SHARED_OBJECT_ADD: { id: 6, payload: VhostUserShared, requires: 'SHARED_OBJECT' },
  SHARED_OBJECT_REMOVE: { id: 7, payload: VhostUserShared, requires: 'SHARED_OBJECT' },
  SHARED_OBJECT_LOOKUP: {
    id: 8,
    payload: VhostUserShared,
    reply: u64,
    replyDescriptors: [0, 1],
    requires: 'SHARED_OBJECT',
  },
  SHMEM_MAP: { id: 9, payload: VhostUserMMap, descriptors: [1, 1], requires: 'SHMEM' },
  SHMEM_UNMAP: { id: 10, payload: VhostUserMMap, requires: 'SHMEM' },
} as const satisfies MessageForms);

/** The name of a message that a front end sends. */
export type FrontEndMessageName = keyof typeof frontEndMessages;
/** The name of a message that a back end sends over its own channel. */
export type BackEndMessageName = keyof typeof backEndMessages;

type FieldsOf<S> = S extends Struct<infer F> ? F : never;

/** What a message of a direction carries. */
export type PayloadOf<F extends MessageForms, N extends keyof F> = StructValue<FieldsOf<F[N]['payload']>>;

/** What answers it; `never` where nothing but an acknowledgement does. */
export type ReplyOf<F extends MessageForms, N extends keyof F> = F[N] extends { readonly reply: infer S }
  ? StructValue<FieldsOf<S>>
  : never;

/** The sizes that a payload may have, in bytes. */
export function payloadBounds(form: MessageForm): readonly [fewest: number, most: number] {
  return [form.payload.size, form.mostBytes ?? form.payload.size];
}

/** The sizes that a reply may have. Where an acknowledgement may come instead, that has its place too. */
export function replyBounds(form: MessageForm): readonly [fewest: number, most: number] {
  const { size } = form.reply ?? u64;
  return [size, form.mostReplyBytes ?? Math.max(size, form.reply === noPayload ? u64.size : 0)];
}
