import type { ClauseId } from '../../spec/clauses.ts';
import { deviceType } from '../../spec/device-type.ts';
import { le16, le32, le64, type Struct, struct } from '../../spec/layout.ts';

const configFields = {
  /** The guest's context ID; the upper 32 bits are 0. */
  guest_cid: le64,
} as const;

/** The configuration structure of a socket device. */
export const virtio_vsock_config: Struct<typeof configFields> = struct('virtio_vsock_config', configFields);

/** The socket device: connections between the guest and its host, without addresses to be set up. */
export const vsock = deviceType({
  id: 19,
  name: 'vsock',
  queues: { rx: 0, tx: 1, event: 2 },
  features: { STREAM: 0, SEQPACKET: 1, NO_IMPLIED_STREAM: 2 },
  config: virtio_vsock_config,
  // A communication controller of no more particular kind.
  pciClass: 0x0780,
});

const headerFields = {
  src_cid: le64,
  dst_cid: le64,
  src_port: le32,
  dst_port: le32,
  /** Bytes of payload; the buffer may be longer. */
  len: le32,
  /** One of {@link socketType}. */
  type: le16,
  /** One of {@link vsockOp}. */
  op: le16,
  /** Of a SHUTDOWN, {@link shutdownFlag}; of an RW between seqpacket sockets, {@link seqFlag}. */
  flags: le32,
  /** The sender's receive buffer for this socket, in bytes. */
  buf_alloc: le32,
  /** Bytes that left the sender's receive buffer, counted modulo 2^32. */
  fwd_cnt: le32,
} as const;

/** What each packet begins with. */
export const virtio_vsock_hdr: Struct<typeof headerFields> = struct('virtio_vsock_hdr', headerFields);

const eventFields = {
  /** One of {@link vsockEvent}. */
  id: le32,
} as const;

/** What a device puts in a buffer of the event queue. */
export const virtio_vsock_event: Struct<typeof eventFields> = struct('virtio_vsock_event', eventFields);

/** What a packet is for. */
export const vsockOp = Object.freeze({
  INVALID: 0,
  /** Asks for a connection. */
  REQUEST: 1,
  /** Grants it. */
  RESPONSE: 2,
  /** Refuses it, aborts it, or ends its clean disconnect. */
  RST: 3,
  /** The sender will not send, or not receive, any more. */
  SHUTDOWN: 4,
  /** Payload. */
  RW: 5,
  /** `buf_alloc` and `fwd_cnt` as they are now. */
  CREDIT_UPDATE: 6,
  /** Asks for a CREDIT_UPDATE. */
  CREDIT_REQUEST: 7,
} as const);

/** What kind of socket a packet belongs to. */
export const socketType = Object.freeze({
  /** Bytes without boundaries. */
  STREAM: 1,
  /** Messages, and records of them. */
  SEQPACKET: 2,
} as const);

/** In `flags` of a SHUTDOWN: hints that stay once they were sent. */
export const shutdownFlag = Object.freeze({
  /** The sender will not receive any more data. */
  RECEIVE: 1,
  /** The sender will not send any more data. */
  SEND: 2,
} as const);

/** In `flags` of an RW between seqpacket sockets. */
export const seqFlag = Object.freeze({
  /** The packet is the last of its message. */
  EOM: 1,
  /** The message is the last of its record. */
  EOR: 2,
} as const);

/** What an event tells. */
export const vsockEvent = Object.freeze({
  /** Communication was interrupted: connections are gone, and the guest's CID may be another. */
  TRANSPORT_RESET: 0,
} as const);

/** The CID of the host that a guest runs on. */
export const hostCid = 2;

/** The port that stands for any, and at which nobody can listen. */
export const anyPort = 0xffff_ffff;

/**
 * True for a CID that a guest can have: 32 bits, and not reserved.
 *
 * @spec 5.10.6.4.2 device: Device Types / Socket Device / Device Operation / Receive and Transmit
 */
export function isGuestCid(cid: number): boolean {
  return Number.isInteger(cid) && cid > hostCid && cid < 0xffff_ffff;
}

/**
 * The kinds of sockets that there are with the features negotiated. What may be taken for implied is taken for it:
 * Linux negotiates SEQPACKET alone, and uses both.
 *
 * @spec 5.10.3.1 driver: Device Types / Socket Device / Feature bits
 * @spec 5.10.3.2 device: Device Types / Socket Device / Feature bits
 */
export function socketTypes(
  has: (feature: 'STREAM' | 'SEQPACKET' | 'NO_IMPLIED_STREAM') => boolean,
): number[] {
  const seqpacket = has('SEQPACKET');
  const stream = has('STREAM') || !has('NO_IMPLIED_STREAM');
  return [...(stream ? [socketType.STREAM] : []), ...(seqpacket ? [socketType.SEQPACKET] : [])];
}

/** The clauses that a peer can break in a way that the other side sees. */
export const vsockClauses = Object.freeze({
  cid: 'device: Device Types / Socket Device / Device Operation / Receive and Transmit',
} as const satisfies Record<string, ClauseId>);
