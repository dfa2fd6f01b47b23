import { array, le16, le64, type Struct, struct, tail, u8 } from '../../spec/layout.ts';

/** Commands of the class STATS. */
export const statsCommand = Object.freeze({
  /** Answers with {@link virtio_net_stats_capabilities}. */
  QUERY: 0,
  /** Takes {@link virtio_net_ctrl_queue_stats}, and answers with what is asked for, one after the other. */
  GET: 1,
} as const);

/** The kinds of statistics: the bit of each in `types_bitmap`, and `type` of its reply. */
export const statsType = Object.freeze({
  RX_BASIC: 0,
  RX_CSUM: 1,
  RX_GSO: 2,
  RX_SPEED: 3,
  TX_BASIC: 16,
  TX_CSUM: 17,
  TX_GSO: 18,
  TX_SPEED: 19,
  CVQ: 32,
} as const);

const capabilitiesFields = { supported_stats_types: array(le64, 1) } as const;

/** Which kinds there are. */
export const virtio_net_stats_capabilities: Struct<typeof capabilitiesFields> = struct(
  'virtio_net_stats_capabilities',
  capabilitiesFields,
);

const queueStatsFields = { vq_index: le16, reserved: array(le16, 3), types_bitmap: array(le64, 1) } as const;

/** What is asked of one queue. The specification gives the structure no name. */
export const virtio_net_ctrl_queue_stats_entry: Struct<typeof queueStatsFields> = struct(
  'virtio_net_ctrl_queue_stats.stats',
  queueStatsFields,
);

const statsRequestFields = { stats: tail(virtio_net_ctrl_queue_stats_entry) } as const;

/** What GET takes. */
export const virtio_net_ctrl_queue_stats: Struct<typeof statsRequestFields> = struct(
  'virtio_net_ctrl_queue_stats',
  statsRequestFields,
);

const replyFields = {
  /** One of {@link statsType}. */
  type: u8,
  reserved: u8,
  vq_index: le16,
  reserved1: le16,
  /** Bytes, with this header. */
  size: le16,
} as const;

/** What each kind begins with. */
export const virtio_net_stats_reply_hdr: Struct<typeof replyFields> = struct(
  'virtio_net_stats_reply_hdr',
  replyFields,
);

const hdr = virtio_net_stats_reply_hdr;

const cvqFields = { hdr, command_num: le64, ok_num: le64 } as const;

/** The control queue: commands, this one among them, and those that succeeded. */
export const virtio_net_stats_cvq: Struct<typeof cvqFields> = struct('virtio_net_stats_cvq', cvqFields);

const rxBasicFields = {
  hdr,
  rx_notifications: le64,
  rx_packets: le64,
  rx_bytes: le64,
  rx_interrupts: le64,
  rx_drops: le64,
  rx_drop_overruns: le64,
} as const;

/** A receive queue. */
export const virtio_net_stats_rx_basic: Struct<typeof rxBasicFields> = struct(
  'virtio_net_stats_rx_basic',
  rxBasicFields,
);

const txBasicFields = {
  hdr,
  tx_notifications: le64,
  tx_packets: le64,
  tx_bytes: le64,
  tx_interrupts: le64,
  tx_drops: le64,
  tx_drop_malformed: le64,
} as const;

/** A transmit queue. */
export const virtio_net_stats_tx_basic: Struct<typeof txBasicFields> = struct(
  'virtio_net_stats_tx_basic',
  txBasicFields,
);

const rxCsumFields = {
  hdr,
  rx_csum_valid: le64,
  rx_needs_csum: le64,
  rx_csum_none: le64,
  rx_csum_bad: le64,
} as const;

/** Checksums of a receive queue, with GUEST_CSUM. */
export const virtio_net_stats_rx_csum: Struct<typeof rxCsumFields> = struct(
  'virtio_net_stats_rx_csum',
  rxCsumFields,
);

const txCsumFields = { hdr, tx_csum_none: le64, tx_needs_csum: le64 } as const;

/** Checksums of a transmit queue, with CSUM. */
export const virtio_net_stats_tx_csum: Struct<typeof txCsumFields> = struct(
  'virtio_net_stats_tx_csum',
  txCsumFields,
);

const rxGsoFields = {
  hdr,
  rx_gso_packets: le64,
  rx_gso_bytes: le64,
  rx_gso_packets_coalesced: le64,
  rx_gso_bytes_coalesced: le64,
} as const;

/** Segmentation of a receive queue, with GUEST_TSO4 or GUEST_TSO6. */
export const virtio_net_stats_rx_gso: Struct<typeof rxGsoFields> = struct(
  'virtio_net_stats_rx_gso',
  rxGsoFields,
);

const txGsoFields = {
  hdr,
  tx_gso_packets: le64,
  tx_gso_bytes: le64,
  tx_gso_segments: le64,
  tx_gso_segments_bytes: le64,
  tx_gso_packets_noseg: le64,
  tx_gso_bytes_noseg: le64,
} as const;

/** Segmentation of a transmit queue, with HOST_TSO4, HOST_TSO6 or HOST_USO. */
export const virtio_net_stats_tx_gso: Struct<typeof txGsoFields> = struct(
  'virtio_net_stats_tx_gso',
  txGsoFields,
);

const rxSpeedFields = {
  hdr,
  rx_packets_allowance_exceeded: le64,
  rx_bytes_allowance_exceeded: le64,
} as const;

/** What was dropped of a receive queue since it exceeded `speed`. */
export const virtio_net_stats_rx_speed: Struct<typeof rxSpeedFields> = struct(
  'virtio_net_stats_rx_speed',
  rxSpeedFields,
);

const txSpeedFields = {
  hdr,
  tx_packets_allowance_exceeded: le64,
  tx_bytes_allowance_exceeded: le64,
} as const;

/** The same of a transmit queue. */
export const virtio_net_stats_tx_speed: Struct<typeof txSpeedFields> = struct(
  'virtio_net_stats_tx_speed',
  txSpeedFields,
);
