import { le16, le32, type Struct, struct, u8 } from '../../spec/layout.ts';
import { legacyHeaderLength } from './legacy.ts';
import type { HasNetFeature } from './spec.ts';

const headerFields = {
  /** Bits of {@link headerFlag}. */
  flags: u8,
  /** One of {@link gsoType}, with bits of {@link gsoFlag}. */
  gso_type: u8,
  /** Bytes of headers that each segment repeats. */
  hdr_len: le16,
  /** Bytes of payload in each segment. */
  gso_size: le16,
  /** Bytes from the beginning of the packet; with RSC_INFO, segments that were coalesced. */
  csum_start: le16,
  /** Bytes behind `csum_start`; with RSC_INFO, duplicated ACKs. */
  csum_offset: le16,
  /** Received frames: buffers that the frame is spread over. */
  num_buffers: le16,
  /** With HASH_REPORT; likewise the next. */
  hash_value: le32,
  /** One of `hashReport`. */
  hash_report: le16,
  padding_reserved: le16,
  /** With HOST_UDP_TUNNEL_GSO or GUEST_UDP_TUNNEL_GSO; likewise the next. */
  outer_th_offset: le16,
  inner_nh_offset: le16,
  /** With OUT_NET_HEADER: where the outer network header begins, or 0. */
  outer_nh_offset: le16,
  /** With IPSEC: the security association, and what kind of resource object it is. */
  resource_id: le32,
  resource_type: le16,
} as const;

/** What stands before each frame; how much of it does depends on what was negotiated: {@link headerLength}. */
export const virtio_net_hdr: Struct<typeof headerFields> = struct('virtio_net_hdr', headerFields);

/** Bits of `flags`. */
export const headerFlag = Object.freeze({
  /** The checksum is to be completed. */
  NEEDS_CSUM: 1,
  /** The checksum was found right. */
  DATA_VALID: 2,
  /** `csum_start` and `csum_offset` tell of segments that were coalesced. */
  RSC_INFO: 4,
  /** The outer checksum of a tunnel is to be completed as well. */
  UDP_TUNNEL_CSUM: 8,
  /** The frame goes through IPsec, or has gone. */
  SECURITY: 16,
  SECURITY_ERR: 32,
  SECURITY_SA_SOFT_EXPIRY_WARN: 64,
} as const);

/** Values of `gso_type`, without the bits of {@link gsoFlag}. */
export const gsoType = Object.freeze({ NONE: 0, TCPV4: 1, UDP: 3, TCPV6: 4, UDP_L4: 5 } as const);

/** Bits of `gso_type`. */
export const gsoFlag = Object.freeze({ UDP_TUNNEL_IPV4: 0x20, UDP_TUNNEL_IPV6: 0x40, ECN: 0x80 } as const);

/**
 * Bytes of the header in front of each frame, in both directions: all fields up to the last that something was
 * negotiated for.
 *
 * @spec 5.1.9.3.1 driver: Device Types / Network Device / Device Operation / Setting Up Receive Buffers
 */
export function headerLength(has: HasNetFeature, legacy = false): number {
  if (legacy) return legacyHeaderLength(has);
  if (has('OUT_NET_HEADER') || has('IPSEC')) return 32;
  if (has('HOST_UDP_TUNNEL_GSO') || has('GUEST_UDP_TUNNEL_GSO')) return 24;
  return has('HASH_REPORT') ? 20 : 12;
}
