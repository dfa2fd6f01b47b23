import { get16, put16, put32 } from '../link/bytes.ts';
import { internetChecksum } from '../link/checksum.ts';
import type { PacketHeaders } from '../link/headers.ts';
import type { TunnelHeader } from './association.ts';

/** Numbers of protocols that IPsec adds. */
export const espProtocol = 50;
export const ipv4InIp = 4;
export const ipv6InIp = 41;
export const noNextHeader = 59;

/** The most that an IP packet says of its own length. */
export const largestPacket = 65_535;

/** Explicit congestion notification: the lower two bits of what was the type of service. */
export const congestion = Object.freeze({ NONE: 0, CAPABLE_1: 1, CAPABLE_0: 2, EXPERIENCED: 3 });

/** The length that a packet says it has, its header with it; −1 when the frame is shorter, or it says that it has none. */
export function packetLength(frame: Uint8Array, { version, networkAt, transportAt }: PacketHeaders): number {
  const length = version === 4 ? get16(frame, networkAt + 2) : 40 + get16(frame, networkAt + 4);
  return length < transportAt - networkAt || networkAt + length > frame.length ? -1 : length;
}

/** The octet of DSCP and congestion. */
export const trafficClass = (frame: Uint8Array, at: number, version: 4 | 6): number =>
  version === 4 ? frame[at + 1]! : (get16(frame, at) >>> 4) & 0xff;

export function setTrafficClass(frame: Uint8Array, at: number, version: 4 | 6, value: number): void {
  if (version === 4) {
    frame[at + 1] = value;
    setHeaderChecksum(frame, at);
  } else put16(frame, at, (get16(frame, at) & 0xf00f) | (value << 4));
}

/** Writes the length of a packet that ends where the frame does. */
export function setPacketLength(frame: Uint8Array, at: number, version: 4 | 6, length: number): void {
  if (version === 6) {
    put16(frame, at + 4, length - 40);
    return;
  }
  put16(frame, at + 2, length);
  setHeaderChecksum(frame, at);
}

function setHeaderChecksum(frame: Uint8Array, at: number): void {
  put16(frame, at + 10, 0);
  put16(frame, at + 10, internetChecksum(frame, at, at + (frame[at]! & 15) * 4));
}

/** Takes a hop from a packet; false when it had but one. */
export function decrementHops(frame: Uint8Array, at: number, version: 4 | 6): boolean {
  const where = at + (version === 4 ? 8 : 7);
  if (frame[where]! <= 1) return false;
  frame[where] = frame[where]! - 1;
  if (version === 4) setHeaderChecksum(frame, at);
  return true;
}

/** Of an outer header: what does not come with the tunnel. */
export interface OuterFields {
  readonly length: number;
  readonly protocol: number;
  readonly trafficClass: number;
  readonly dontFragment: boolean;
  /** IPv4 without that. */
  readonly identification: number;
}

/** Writes an outer header. */
export function writeOuterHeader(
  frame: Uint8Array,
  at: number,
  { version, source, destination, hops, flowLabel }: TunnelHeader,
  fields: OuterFields,
): void {
  if (version === 6) {
    put32(frame, at, ((6 << 28) | (fields.trafficClass << 20) | (flowLabel & 0xf_ffff)) >>> 0);
    put16(frame, at + 4, fields.length - 40);
    frame[at + 6] = fields.protocol;
    frame[at + 7] = hops;
    frame.set(source, at + 8);
    frame.set(destination, at + 24);
    return;
  }
  frame[at] = 0x45;
  frame[at + 1] = fields.trafficClass;
  put16(frame, at + 2, fields.length);
  put16(frame, at + 4, fields.identification);
  put16(frame, at + 6, fields.dontFragment ? 0x4000 : 0);
  frame[at + 8] = hops;
  frame[at + 9] = fields.protocol;
  frame.set(source, at + 12);
  frame.set(destination, at + 16);
  setHeaderChecksum(frame, at);
}
