import { put16, put32 } from './bytes.ts';
import { internetChecksum } from './checksum.ts';
import { ipv4Header, ipv6Header } from './numbers.ts';

/** Of IPv4: the bit against fragments, in the field of their offset. */
export const dontFragment = 0x4000;

/** What a header of IP without options says. */
export interface IpHeader {
  /** In network order: 4 bytes make a header of IPv4, 16 one of IPv6. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly protocol: number;
  /** Time to live, or hop limit. */
  readonly hops: number;
  /** Bytes behind the header. */
  readonly payload: number;
  /** DSCP and congestion; 0 unless told. */
  readonly trafficClass?: number;
  /** IPv6: 20 bits; 0 unless told. */
  readonly flowLabel?: number;
  /** IPv4: lower 16 bits count. */
  readonly identification: number;
  /** IPv4: the field with {@link dontFragment} and the fragment's offset. */
  readonly fragment: number;
}

/** Writes a header of IP at `at`, its checksum too. */
export function writeIpHeader(bytes: Uint8Array, at: number, header: IpHeader): void {
  const { source, destination, protocol, hops, payload, trafficClass = 0, flowLabel = 0 } = header;
  if (source.length === 16) {
    put32(bytes, at, 0x6000_0000 | (trafficClass << 20) | (flowLabel & 0xf_ffff));
    put16(bytes, at + 4, payload);
    bytes[at + 6] = protocol;
    bytes[at + 7] = hops;
    bytes.set(source, at + 8);
    bytes.set(destination, at + 24);
    return;
  }
  bytes[at] = 0x45;
  bytes[at + 1] = trafficClass;
  put16(bytes, at + 4, header.identification);
  put16(bytes, at + 6, header.fragment);
  bytes[at + 8] = hops;
  bytes[at + 9] = protocol;
  bytes.set(source, at + 12);
  bytes.set(destination, at + 16);
  setPacketLength(bytes, at, 4, ipv4Header + payload);
}

/** Writes the length of a packet, its header with it, and completes the checksum of IPv4's. */
export function setPacketLength(bytes: Uint8Array, at: number, version: 4 | 6, length: number): void {
  if (version === 6) {
    put16(bytes, at + 4, length - ipv6Header);
    return;
  }
  put16(bytes, at + 2, length);
  setHeaderChecksum(bytes, at);
}

/** Completes the checksum of a header of IPv4, options with it. */
export function setHeaderChecksum(bytes: Uint8Array, at: number): void {
  put16(bytes, at + 10, 0);
  put16(bytes, at + 10, internetChecksum(bytes, at, at + (bytes[at]! & 15) * 4));
}
