import { ipv6Header, largestPacket } from '../../link/numbers.ts';
import type { ClauseId } from '../../spec/clauses.ts';
import { deviceType, type SettledDevice } from '../../spec/device-type.ts';
import { bytes, le16, le32, type Struct, type StructValue, struct, u8 } from '../../spec/layout.ts';
import { legacyNetFeatures } from './legacy.ts';

const configFields = {
  /** Always there, and valid with MAC. */
  mac: bytes(6),
  /** Bits of {@link netStatus}, with STATUS. */
  status: le16,
  /** Pairs of a receive and a transmit queue that there are, with MQ or RSS. */
  max_virtqueue_pairs: le16,
  /** Bytes of the largest packet behind its Ethernet header, with MTU. */
  mtu: le16,
  /** Units of 1 MBit per second: 0 to 0x7fff_ffff, or {@link unknownSpeed}; with SPEED_DUPLEX. */
  speed: le32,
  /** One of {@link duplexMode}. */
  duplex: u8,
  /** Bytes, with RSS or HASH_REPORT. */
  rss_max_key_size: u8,
  /** Entries of 16 bits, with RSS. */
  rss_max_indirection_table_length: le16,
  /** Bits of `hashType`, with RSS or HASH_REPORT. */
  supported_hash_types: le32,
  /** Bits of `hashTunnelType`, with HASH_TUNNEL. */
  supported_tunnel_types: le32,
} as const;

/** The configuration structure of a network device. */
export const virtio_net_config: Struct<typeof configFields> = struct('virtio_net_config', configFields);

/** The index of the control queue: behind as many pairs as there can be with what was negotiated (5.1.2). */
function controlIndex(settled: SettledDevice): number {
  const counted = settled.has('MQ') || settled.has('RSS') ? settled.config.max_virtqueue_pairs : 1;
  // A field of 0 counts for nothing, and a device has its first queues whatever it says.
  return 2 * (typeof counted === 'number' && counted > 0 ? counted : 1);
}

/**
 * The network device: Ethernet frames between a driver and whoever is at the other end of a link.
 *
 * @spec 2.2.2 device: Basic Facilities of a Virtio Device / Feature Bits
 */
export const net = deviceType({
  id: 1,
  name: 'net',
  queues: {
    receiveq: { from: 0, every: 2, moved: (settled) => ({ until: controlIndex(settled) }) },
    transmitq: { from: 1, every: 2, moved: (settled) => ({ until: controlIndex(settled) }) },
    controlq: { requires: 'CTRL_VQ', moved: (settled) => ({ first: [controlIndex(settled)] }) },
  },
  features: {
    CSUM: 0,
    GUEST_CSUM: 1,
    CTRL_GUEST_OFFLOADS: 2,
    MTU: 3,
    MAC: 5,
    GUEST_TSO4: { bit: 7, requires: ['GUEST_CSUM'] },
    GUEST_TSO6: { bit: 8, requires: ['GUEST_CSUM'] },
    GUEST_ECN: { bit: 9, requires: [['GUEST_TSO4', 'GUEST_TSO6']] },
    GUEST_UFO: { bit: 10, requires: ['GUEST_CSUM'] },
    HOST_TSO4: { bit: 11, requires: ['CSUM'] },
    HOST_TSO6: { bit: 12, requires: ['CSUM'] },
    HOST_ECN: { bit: 13, requires: [['HOST_TSO4', 'HOST_TSO6']] },
    HOST_UFO: { bit: 14, requires: ['CSUM'] },
    MRG_RXBUF: 15,
    STATUS: 16,
    CTRL_VQ: 17,
    CTRL_RX: { bit: 18, requires: ['CTRL_VQ'] },
    CTRL_VLAN: { bit: 19, requires: ['CTRL_VQ'] },
    CTRL_RX_EXTRA: 20,
    GUEST_ANNOUNCE: { bit: 21, requires: ['CTRL_VQ'] },
    MQ: { bit: 22, requires: ['CTRL_VQ'] },
    CTRL_MAC_ADDR: { bit: 23, requires: ['CTRL_VQ'] },
    DEVICE_STATS: 50,
    HASH_TUNNEL: { bit: 51, requires: ['CTRL_VQ', ['RSS', 'HASH_REPORT']] },
    VQ_NOTF_COAL: { bit: 52, requires: ['CTRL_VQ'] },
    NOTF_COAL: { bit: 53, requires: ['CTRL_VQ'] },
    GUEST_USO4: { bit: 54, requires: ['GUEST_CSUM'] },
    GUEST_USO6: { bit: 55, requires: ['GUEST_CSUM'] },
    HOST_USO: { bit: 56, requires: ['CSUM'] },
    HASH_REPORT: 57,
    GUEST_HDRLEN: 59,
    RSS: { bit: 60, requires: ['CTRL_VQ'] },
    RSC_EXT: { bit: 61, requires: [['HOST_TSO4', 'HOST_TSO6']] },
    STANDBY: 62,
    SPEED_DUPLEX: 63,
    RSS_CONTEXT: { bit: 64, requires: ['CTRL_VQ', 'RSS'] },
    GUEST_UDP_TUNNEL_GSO: { bit: 65, requires: ['GUEST_TSO4', 'GUEST_TSO6', 'GUEST_USO4', 'GUEST_USO6'] },
    GUEST_UDP_TUNNEL_GSO_CSUM: { bit: 66, requires: ['GUEST_UDP_TUNNEL_GSO'] },
    HOST_UDP_TUNNEL_GSO: { bit: 67, requires: ['HOST_TSO4', 'HOST_TSO6', 'HOST_USO'] },
    HOST_UDP_TUNNEL_GSO_CSUM: { bit: 68, requires: ['HOST_UDP_TUNNEL_GSO'] },
    OUT_NET_HEADER: 69,
    IPSEC: 70,
  },
  config: virtio_net_config,
  configRequires: {
    status: 'STATUS',
    max_virtqueue_pairs: ['MQ', 'RSS'],
    mtu: 'MTU',
    speed: 'SPEED_DUPLEX',
    duplex: 'SPEED_DUPLEX',
    rss_max_key_size: ['RSS', 'HASH_REPORT'],
    rss_max_indirection_table_length: 'RSS',
    supported_hash_types: ['RSS', 'HASH_REPORT'],
    supported_tunnel_types: 'HASH_TUNNEL',
  },
  // An Ethernet controller.
  pciClass: 0x0200,
  keptByFrontEnds: ['CTRL_VQ'],
  legacy: { features: legacyNetFeatures, driverWritable: ['mac'] },
});

/** Tells whether a feature was negotiated. */
export type HasNetFeature = (feature: NetFeature) => boolean;

/** The configuration fields by name. */
export type NetConfig = StructValue<typeof configFields>;

/** The names of the network device's own features. */
export type NetFeature = (typeof net.ownFeatures)[number];

/** Bits of the configuration field `status`. */
export const netStatus = Object.freeze({
  LINK_UP: 1,
  /** The driver is to make itself known on the network. */
  ANNOUNCE: 2,
} as const);

/**
 * Values of the configuration field `duplex`. The chapter's text and its device requirements name 0 and 1 the other way
 * round; these are the text's, and those of every implementation.
 */
export const duplexMode = Object.freeze({ HALF: 0, FULL: 1, UNKNOWN: 0xff } as const);

/** In the configuration field `speed`. */
export const unknownSpeed = 0xffff_ffff;

/** Bytes of an Ethernet header with a VLAN tag. */
export const taggedEthernetHeader = 18;

/** The largest frame without segmentation and MTU: 1500 bytes behind a tagged Ethernet header. */
export const defaultMtu = 1500;

/** The largest frame that there can be: an IPv6 packet of 65535 bytes of payload, in a tagged Ethernet frame. */
export const largestFrame: number = taggedEthernetHeader + ipv6Header + largestPacket;

/** The configuration field `max_virtqueue_pairs`, and the command that uses some of them. */
export const virtqueuePairs = Object.freeze({ MIN: 1, MAX: 0x8000 } as const);

/** The clauses that a peer can break in a way that the other side sees. */
export const netClauses = Object.freeze({
  config: 'device: Device Types / Network Device / Device configuration layout',
  transmit: 'driver: Device Types / Network Device / Device Operation / Packet Transmission',
  buffers: 'driver: Device Types / Network Device / Device Operation / Setting Up Receive Buffers',
  receive: 'device: Device Types / Network Device / Device Operation / Processing of Incoming Packets',
} as const satisfies Record<string, ClauseId>);
