import { array, bits, le16, le32, type Struct, struct, tail, u8 } from '../../spec/layout.ts';

/** Bits of `hash_types`: over what a hash is calculated. */
export const hashType = Object.freeze({
  IPv4: 1 << 0,
  TCPv4: 1 << 1,
  UDPv4: 1 << 2,
  IPv6: 1 << 3,
  TCPv6: 1 << 4,
  UDPv6: 1 << 5,
  /** Of IPv6 packets with extension headers; likewise the next two. */
  IP_EX: 1 << 6,
  TCP_EX: 1 << 7,
  UDP_EX: 1 << 8,
} as const);

/** Values of `hash_report`: the hash type is `1 << (report - 1)`. */
export const hashReport = Object.freeze({
  NONE: 0,
  IPv4: 1,
  TCPv4: 2,
  UDPv4: 3,
  IPv6: 4,
  TCPv6: 5,
  UDPv6: 6,
  IPv6_EX: 7,
  TCPv6_EX: 8,
  UDPv6_EX: 9,
} as const);

/** Bits of `enabled_tunnel_types`: encapsulations whose inner headers are hashed. */
export const hashTunnelType = Object.freeze({
  GRE_2784: 1 << 0,
  GRE_2890: 1 << 1,
  GRE_7676: 1 << 2,
  GRE_UDP: 1 << 3,
  VXLAN: 1 << 4,
  VXLAN_GPE: 1 << 5,
  GENEVE: 1 << 6,
  IPIP: 1 << 7,
  NVGRE: 1 << 8,
} as const);

/** Commands of the class HASH_TUNNEL. */
export const hashTunnelCommand = Object.freeze({ SET: 0 } as const);

const tunnelFields = { enabled_tunnel_types: le32 } as const;

/** What HASH_TUNNEL's SET takes. */
export const virtnet_hash_tunnel: Struct<typeof tunnelFields> = struct('virtnet_hash_tunnel', tunnelFields);

const hashConfigFields = {
  hash_types: le32,
  reserved: array(le16, 4),
  hash_key_length: u8,
  hash_key_data: tail(u8),
} as const;

/** What MQ's HASH_CONFIG takes. */
export const virtio_net_hash_config: Struct<typeof hashConfigFields> = struct(
  'virtio_net_hash_config',
  hashConfigFields,
);

/** A receive queue: bits 1 to 16 of its index among the virtqueues. */
export const rss_rq_id = bits(le16, { vq_index_1_16: 15, reserved: 1 });

const rssHeadFields = {
  hash_types: le32,
  /** One less than the entries of the table, which are a power of two. */
  indirection_table_mask: le16,
  unclassified_queue: rss_rq_id,
  indirection_table: tail(rss_rq_id),
} as const;

/**
 * What MQ's RSS_CONFIG takes, up to its table: `indirection_table_mask + 1` entries, behind which
 * {@link virtio_net_rss_config_key} stands.
 */
export const virtio_net_rss_config: Struct<typeof rssHeadFields> = struct(
  'virtio_net_rss_config',
  rssHeadFields,
);

const rssKeyFields = { max_tx_vq: le16, hash_key_length: u8, hash_key_data: tail(u8) } as const;

/** What ends a {@link virtio_net_rss_config}. */
export const virtio_net_rss_config_key: Struct<typeof rssKeyFields> = struct(
  'virtio_net_rss_config',
  rssKeyFields,
);

/** The least that a device with RSS supports: bytes of a key, and entries of a table. */
export const rssMinimum = Object.freeze({ keySize: 40, tableLength: 128 } as const);

/** Commands of the class RSS_CTX. */
export const rssContextCommand = Object.freeze({ CAP_GET: 0, ADD: 1, MOD: 2, DEL: 3 } as const);

const contextCapFields = { max_rss_contexts: le16 } as const;

/** What CAP_GET answers. */
export const virtnet_rss_ctx_cap: Struct<typeof contextCapFields> = struct(
  'virtnet_rss_ctx_cap',
  contextCapFields,
);

const contextFields = { rss_ctx_id: le16, reserved: array(u8, 6) } as const;

/** What ADD and MOD take: a {@link virtio_net_rss_config} follows. */
export const virtnet_rss_ctx_add_modify: Struct<typeof contextFields> = struct(
  'virtnet_rss_ctx_add_modify',
  contextFields,
);

const contextDeleteFields = { rss_ctx_id: le16 } as const;

/** What DEL takes. */
export const virtnet_rss_ctx_del: Struct<typeof contextDeleteFields> = struct(
  'virtnet_rss_ctx_del',
  contextDeleteFields,
);
