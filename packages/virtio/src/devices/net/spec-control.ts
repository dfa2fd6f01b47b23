import { bytes, le16, le32, le64, type Struct, struct, tail, u8 } from '../../spec/layout.ts';
import type { HasNetFeature, NetFeature } from './spec.ts';

const controlFields = { class: u8, command: u8 } as const;

/** What each command begins with. Its data follow; the device answers with one of {@link controlAck}, and a result. */
export const virtio_net_ctrl: Struct<typeof controlFields> = struct('virtio_net_ctrl', controlFields);

/** How a command ended. */
export const controlAck = Object.freeze({ OK: 0, ERR: 1 } as const);

/** Classes of commands. */
export const controlClass = Object.freeze({
  RX: 0,
  MAC: 1,
  VLAN: 2,
  ANNOUNCE: 3,
  MQ: 4,
  GUEST_OFFLOADS: 5,
  NOTF_COAL: 6,
  HASH_TUNNEL: 7,
  STATS: 8,
  RSS_CTX: 9,
} as const);

/** Commands of the class RX; each takes a byte, 0 or 1. */
export const rxCommand = Object.freeze({
  PROMISC: 0,
  ALLMULTI: 1,
  ALLUNI: 2,
  NOMULTI: 3,
  NOUNI: 4,
  NOBCAST: 5,
} as const);

/** Commands of the class MAC. */
export const macCommand = Object.freeze({
  /** Takes two {@link virtio_net_ctrl_mac}: of unicast, then of multicast addresses. */
  TABLE_SET: 0,
  /** Takes an address. */
  ADDR_SET: 1,
} as const);

const macTableFields = {
  entries: le32,
  /** As many as `entries` says, though more may follow. */
  macs: tail(bytes(6)),
} as const;

/** A table of MAC addresses. */
export const virtio_net_ctrl_mac: Struct<typeof macTableFields> = struct(
  'virtio_net_ctrl_mac',
  macTableFields,
);

/** Commands of the class VLAN; each takes a VLAN id of 16 bits. */
export const vlanCommand = Object.freeze({ ADD: 0, DEL: 1 } as const);

/** Commands of the class ANNOUNCE. */
export const announceCommand = Object.freeze({ ACK: 0 } as const);

/** Commands of the class MQ: the last one says how frames are steered to receive queues. */
export const mqCommand = Object.freeze({
  /** By the queue on which the driver sends: takes {@link virtio_net_ctrl_mq_pairs_set}. */
  VQ_PAIRS_SET: 0,
  /** By a hash: takes `virtio_net_rss_config`. */
  RSS_CONFIG: 1,
  /** Not at all, but hashes are reported: takes `virtio_net_hash_config`. */
  HASH_CONFIG: 2,
} as const);

const pairsFields = { virtqueue_pairs: le16 } as const;

/** How many pairs of queues are used. */
export const virtio_net_ctrl_mq_pairs_set: Struct<typeof pairsFields> = struct(
  'virtio_net_ctrl_mq_pairs_set',
  pairsFields,
);

/** Commands of the class GUEST_OFFLOADS. */
export const guestOffloadsCommand = Object.freeze({ SET: 0 } as const);

const offloadsFields = {
  /** Bits at the positions of {@link guestOffloads}. */
  offloads: le64,
} as const;

/** What the driver is ready to receive from now on. The specification gives the structure no name. */
export const virtio_net_ctrl_guest_offloads: Struct<typeof offloadsFields> = struct(
  'virtio_net_ctrl_guest_offloads',
  offloadsFields,
);

/** The bit of each offload in `offloads`: that of its feature, where that is below 64. */
export const guestOffloads: { readonly [F in NetFeature]?: number } = Object.freeze({
  GUEST_CSUM: 1,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  GUEST_ECN: 9,
  GUEST_UFO: 10,
  GUEST_UDP_TUNNEL_GSO: 46,
  GUEST_UDP_TUNNEL_GSO_CSUM: 47,
  GUEST_USO4: 54,
  GUEST_USO6: 55,
} as const);

/** The offloads that were negotiated, as `offloads` has them: all of them are on at first. */
export function negotiatedOffloads(has: HasNetFeature): bigint {
  let offloads = 0n;
  // The keys are names of features.
  for (const [feature, bit] of Object.entries(guestOffloads) as [NetFeature, number][]) {
    if (has(feature)) offloads |= 1n << BigInt(bit);
  }
  return offloads;
}

/** Commands of the class NOTF_COAL. */
export const coalescingCommand = Object.freeze({
  /** For all transmit queues: takes {@link virtio_net_ctrl_coal}; likewise the next. */
  TX_SET: 0,
  RX_SET: 1,
  /** For one queue: takes {@link virtio_net_ctrl_coal_vq}. */
  VQ_SET: 2,
  /** Takes `vq_index` and `reserved`, and answers with {@link virtio_net_ctrl_coal}. */
  VQ_GET: 3,
} as const);

const coalescingFields = { max_packets: le32, max_usecs: le32 } as const;

/** When notifications are due: after so many packets, or so many microseconds. */
export const virtio_net_ctrl_coal: Struct<typeof coalescingFields> = struct(
  'virtio_net_ctrl_coal',
  coalescingFields,
);

const queueCoalescingFields = { vq_index: le16, reserved: le16, coal: virtio_net_ctrl_coal } as const;

/** The same for one queue. */
export const virtio_net_ctrl_coal_vq: Struct<typeof queueCoalescingFields> = struct(
  'virtio_net_ctrl_coal_vq',
  queueCoalescingFields,
);
