import { UsageError } from '../../errors.ts';
import { macAddress, randomMac } from '../../link/mac.ts';
import type { NetOptions } from './options.ts';
import { duplexMode, type NetConfig, type NetFeature, unknownSpeed, virtqueuePairs } from './spec.ts';
import { hashTunnelType, hashType, rssMinimum } from './spec-hash.ts';

/** A device's options, all said, none in conflict. */
export interface NetOffer {
  readonly features: readonly NetFeature[];
  readonly config: Partial<NetConfig>;
  readonly mac: Uint8Array;
  readonly queuePairs: number;
  readonly queueSize: number;
  readonly rssContexts: number;
}

/** What every network device can: what its link does not take unfinished, the link finishes. */
const always: readonly NetFeature[] = [
  'CSUM',
  'GUEST_CSUM',
  'CTRL_GUEST_OFFLOADS',
  'MAC',
  'GUEST_TSO4',
  'GUEST_TSO6',
  'GUEST_ECN',
  'GUEST_UFO',
  'HOST_TSO4',
  'HOST_TSO6',
  'HOST_ECN',
  'HOST_UFO',
  'MRG_RXBUF',
  'STATUS',
  'CTRL_VQ',
  'CTRL_RX',
  'CTRL_VLAN',
  'CTRL_RX_EXTRA',
  'GUEST_ANNOUNCE',
  'CTRL_MAC_ADDR',
  'DEVICE_STATS',
  'GUEST_USO4',
  'GUEST_USO6',
  'HOST_USO',
  'GUEST_HDRLEN',
  'GUEST_UDP_TUNNEL_GSO',
  'GUEST_UDP_TUNNEL_GSO_CSUM',
  'HOST_UDP_TUNNEL_GSO',
  'HOST_UDP_TUNNEL_GSO_CSUM',
];

/** What every network device can, and offers at request alone: it costs something with each frame. */
const atRequest: readonly NetFeature[] = [
  'HASH_REPORT',
  'RSS',
  'RSS_CONTEXT',
  'HASH_TUNNEL',
  'OUT_NET_HEADER',
  'RSC_EXT',
];

const allHashTypes = Object.values(hashType).reduce((all, type) => all | type, 0);
const allTunnelTypes = Object.values(hashTunnelType).reduce((all, type) => all | type, 0);

/**
 * What a device offers: what it can, and its options allow.
 *
 * @throws {UsageError} BAD_ARGUMENT for options that cannot be.
 * @spec 5.1.4.1 device: Device Types / Network Device / Device configuration layout
 */
export function offerOf(options: NetOptions): NetOffer {
  const {
    mtu,
    speed,
    queuePairs = 1,
    queueSize = 256,
    standby = false,
    duplex = 'full',
    rssContexts = 16,
  } = options;
  whole('queuePairs', queuePairs, virtqueuePairs.MIN, virtqueuePairs.MAX);
  whole('rssContexts', rssContexts, 1, 0xffff);
  if (mtu !== undefined) whole('mtu', mtu, 68, 65_535);
  if (speed !== undefined) whole('speed', speed, 0, 0x7fff_ffff);
  const can: NetFeature[] = [
    ...always,
    ...when('MTU', mtu !== undefined),
    ...when('MQ', queuePairs > 1),
    ...when('RSS', queuePairs > 1),
    ...when('RSS_CONTEXT', queuePairs > 1),
    ...when('HASH_TUNNEL', queuePairs > 1),
    ...when('NOTF_COAL', options.timer !== undefined),
    ...when('VQ_NOTF_COAL', options.timer !== undefined),
    ...when('STANDBY', standby),
    ...when('SPEED_DUPLEX', speed !== undefined),
    // Whoever offers the one should offer the other.
    ...when('IPSEC', options.ipsec !== undefined),
    ...when('OUT_NET_HEADER', options.ipsec !== undefined),
  ];
  if (options.ipsec !== undefined && options.flowFilters === undefined) {
    throw bad('IPsec needs flow filters, which say which frames are decrypted: give it flowFilters as well');
  }
  const { offers = can, also = [], without = [] } = options;
  const features = [...new Set([...offers, ...also])].filter((feature) => !without.includes(feature));
  const unable = features.find((feature) => !can.includes(feature) && !atRequest.includes(feature));
  if (unable !== undefined) throw bad(`with these options it cannot offer ${unable}`);
  const hashes = features.includes('RSS') || features.includes('HASH_REPORT');
  const mac = options.mac === undefined ? randomMac() : macAddress(options.mac);
  return {
    features,
    config: {
      mac,
      max_virtqueue_pairs: queuePairs,
      mtu: mtu ?? 0,
      speed: speed ?? unknownSpeed,
      duplex: duplexValue(duplex),
      rss_max_key_size: hashes ? rssMinimum.keySize : 0,
      rss_max_indirection_table_length: hashes ? rssMinimum.tableLength : 0,
      supported_hash_types: hashes ? allHashTypes : 0,
      supported_tunnel_types: features.includes('HASH_TUNNEL') ? allTunnelTypes : 0,
    },
    mac,
    queuePairs,
    queueSize,
    rssContexts,
  };
}

/** As the configuration field has it. */
export const duplexValue = (duplex: 'full' | 'half'): number =>
  duplex === 'full' ? duplexMode.FULL : duplexMode.HALF;

const when = (name: NetFeature, offered: boolean): NetFeature[] => (offered ? [name] : []);

/** @throws {UsageError} BAD_ARGUMENT for a number that is out of range. */
export function whole(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw bad(`${name} is ${value}; it must be between ${least} and ${most}`);
}

const bad = (message: string): UsageError => new UsageError('BAD_ARGUMENT', `net: ${message}`);
