import { get32 } from '../../link/bytes.ts';

/** Bits of the header's flags (RFC 9293, 3.1). */
export const flag = Object.freeze({
  FIN: 0x01,
  SYN: 0x02,
  RST: 0x04,
  PSH: 0x08,
  ACK: 0x10,
  URG: 0x20,
} as const);

/** Bytes of a header without options, and the most with them. */
export const leastHeader = 20;
/** Where the checksum lies in the header. */
export const checksumOffset = 16;

/** The protocol's number in headers of IP. */
export const tcpProtocol = 6;

/** A 32-bit number in network order, as a signed one: sequence numbers are compared by their difference alone. */
export function readI32(bytes: Uint8Array, at: number): number {
  return get32(bytes, at) | 0;
}

/** What stands in front of a segment's options. */
export interface HeaderFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  /** As the field has it: scaled. */
  readonly window: number;
}

/** The same, to be written into. */
export class Header implements HeaderFields {
  sourcePort = 0;
  destinationPort = 0;
  sequence = 0;
  acknowledgment = 0;
  flags = 0;
  window = 0;
}
