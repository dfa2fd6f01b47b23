import type { StructValue } from '../../spec/layout.ts';
import type { ReadableCursor } from '../../virtqueue/readable-cursor.ts';
import type { ControlClass, ControlCounters } from './control.ts';
import type { RxCounters, TxCounters } from './counters.ts';
import type { NetFeature } from './spec.ts';
import {
  statsCommand,
  statsType,
  virtio_net_ctrl_queue_stats_entry,
  virtio_net_stats_capabilities,
  virtio_net_stats_cvq,
  type virtio_net_stats_reply_hdr,
  virtio_net_stats_rx_basic,
  virtio_net_stats_rx_csum,
  virtio_net_stats_rx_gso,
  virtio_net_stats_rx_speed,
  virtio_net_stats_tx_basic,
  virtio_net_stats_tx_csum,
  virtio_net_stats_tx_gso,
  virtio_net_stats_tx_speed,
} from './spec-stats.ts';
import type { NetControls, NetSession } from './state.ts';

/** Where the numbers come from. */
export interface StatisticsSource {
  readonly received: readonly RxCounters[];
  readonly sent: readonly TxCounters[];
  readonly control: ControlCounters;
}

type Header = StructValue<(typeof virtio_net_stats_reply_hdr)['codecs']>;
type Kind = 'receive' | 'transmit' | 'control';

interface Statistics {
  readonly kind: Kind;
  /** Features of which one must have been negotiated; none when every driver may ask. */
  readonly requires?: readonly NetFeature[];
  /** Bytes of a reply. */
  readonly size: number;
  /** Of a queue, by its number within its kind. */
  encode(hdr: Header, source: StatisticsSource, number: number): Uint8Array;
}

/** Bytes of an answer: no driver makes us keep more. */
const mostBytes = 1 << 20;

/** A counter as its field has it: it wraps around at 2^64, though ours never come that far. */
const wide = (count: number): bigint => BigInt.asUintN(64, BigInt(count));

const rx = ({ received }: StatisticsSource, number: number): RxCounters => received[number]!;
const tx = ({ sent }: StatisticsSource, number: number): TxCounters => sent[number]!;

/** All kinds, by their types. Nothing is dropped for its speed, nor cut into segments or coalesced: the link does that. */
const kinds: ReadonlyMap<number, Statistics> = new Map<number, Statistics>([
  [
    statsType.RX_BASIC,
    {
      kind: 'receive',
      size: virtio_net_stats_rx_basic.size,
      encode(hdr, source, number) {
        const counted = rx(source, number);
        return virtio_net_stats_rx_basic.encode({
          hdr,
          rx_notifications: wide(counted.notifications),
          rx_packets: wide(counted.packets),
          rx_bytes: wide(counted.bytes),
          rx_interrupts: wide(counted.interrupts),
          rx_drops: wide(counted.drops),
          rx_drop_overruns: wide(counted.overruns),
        });
      },
    },
  ],
  [
    statsType.RX_CSUM,
    {
      kind: 'receive',
      requires: ['GUEST_CSUM'],
      size: virtio_net_stats_rx_csum.size,
      encode(hdr, source, number) {
        const { packets, checksumValid, needsChecksum } = rx(source, number);
        return virtio_net_stats_rx_csum.encode({
          hdr,
          rx_csum_valid: wide(checksumValid),
          rx_needs_csum: wide(needsChecksum),
          rx_csum_none: wide(packets - checksumValid - needsChecksum),
        });
      },
    },
  ],
  [
    statsType.RX_GSO,
    {
      kind: 'receive',
      requires: ['GUEST_TSO4', 'GUEST_TSO6'],
      size: virtio_net_stats_rx_gso.size,
      encode(hdr, source, number) {
        const { gsoPackets, gsoBytes } = rx(source, number);
        return virtio_net_stats_rx_gso.encode({
          hdr,
          rx_gso_packets: wide(gsoPackets),
          rx_gso_bytes: wide(gsoBytes),
        });
      },
    },
  ],
  [
    statsType.RX_SPEED,
    {
      kind: 'receive',
      requires: ['SPEED_DUPLEX'],
      size: virtio_net_stats_rx_speed.size,
      encode: (hdr) => virtio_net_stats_rx_speed.encode({ hdr }),
    },
  ],
  [
    statsType.TX_BASIC,
    {
      kind: 'transmit',
      size: virtio_net_stats_tx_basic.size,
      encode(hdr, source, number) {
        const counted = tx(source, number);
        return virtio_net_stats_tx_basic.encode({
          hdr,
          tx_notifications: wide(counted.notifications),
          tx_packets: wide(counted.packets),
          tx_bytes: wide(counted.bytes),
          tx_interrupts: wide(counted.interrupts),
          tx_drops: wide(counted.drops),
          tx_drop_malformed: wide(counted.malformed),
        });
      },
    },
  ],
  [
    statsType.TX_CSUM,
    {
      kind: 'transmit',
      requires: ['CSUM'],
      size: virtio_net_stats_tx_csum.size,
      encode(hdr, source, number) {
        const { packets, needsChecksum } = tx(source, number);
        return virtio_net_stats_tx_csum.encode({
          hdr,
          tx_csum_none: wide(packets - needsChecksum),
          tx_needs_csum: wide(needsChecksum),
        });
      },
    },
  ],
  [
    statsType.TX_GSO,
    {
      kind: 'transmit',
      requires: ['HOST_TSO4', 'HOST_TSO6', 'HOST_USO'],
      size: virtio_net_stats_tx_gso.size,
      encode(hdr, source, number) {
        const { gsoPackets, gsoBytes } = tx(source, number);
        return virtio_net_stats_tx_gso.encode({
          hdr,
          tx_gso_packets: wide(gsoPackets),
          tx_gso_bytes: wide(gsoBytes),
          tx_gso_packets_noseg: wide(gsoPackets),
          tx_gso_bytes_noseg: wide(gsoBytes),
        });
      },
    },
  ],
  [
    statsType.TX_SPEED,
    {
      kind: 'transmit',
      requires: ['SPEED_DUPLEX'],
      size: virtio_net_stats_tx_speed.size,
      encode: (hdr) => virtio_net_stats_tx_speed.encode({ hdr }),
    },
  ],
  [
    statsType.CVQ,
    {
      kind: 'control',
      size: virtio_net_stats_cvq.size,
      // The command that asks is among those that succeeded.
      encode: (hdr, { control }) =>
        virtio_net_stats_cvq.encode({
          hdr,
          command_num: wide(control.commands),
          ok_num: wide(control.succeeded + 1),
        }),
    },
  ],
]);

/**
 * What the device has counted, by queue.
 *
 * @spec 5.1.9.5.11.12 device: Device Types / Network Device / Device Operation / Control Virtqueue / Device Statistics
 */
export const statisticsClass = (controls: NetControls, source: StatisticsSource): ControlClass => ({
  requires: ['DEVICE_STATS'],
  handle(command, data, session) {
    if (command === statsCommand.QUERY) {
      return virtio_net_stats_capabilities.encode({ supported_stats_types: [supported(session)] });
    }
    return command === statsCommand.GET && replies(data, session, controls, source);
  },
});

/**
 * The types that this driver can ask for. Those whose features it has not negotiated are not among them: Linux asks for all that
 * it is told of, and a command that asks for one too many fails as a whole.
 */
function supported(session: NetSession): bigint {
  let types = 0n;
  for (const [type, one] of kinds) if (isAllowed(one, session)) types |= 1n << BigInt(type);
  return types;
}

/** What is asked for, reply by reply; false when any of it cannot be had. */
function replies(
  data: ReadableCursor,
  session: NetSession,
  controls: NetControls,
  source: StatisticsSource,
): Uint8Array[] | false {
  const pairs = session.has('MQ') || session.has('RSS') ? controls.config.max_virtqueue_pairs : 1;
  const found: Uint8Array[] = [];
  let bytes = 0;
  // Each queue once is all that there is to ask for.
  for (let entries = 0; data.remaining > 0; entries++) {
    if (entries > 2 * pairs) return false;
    const entry = data.struct(virtio_net_ctrl_queue_stats_entry);
    const index = entry.vq_index;
    if (index > 2 * pairs) return false;
    const kind = index === 2 * pairs ? 'control' : index % 2 === 0 ? 'receive' : 'transmit';
    let types = entry.types_bitmap[0] ?? 0n;
    for (const [type, one] of kinds) {
      const bit = 1n << BigInt(type);
      if ((types & bit) === 0n) continue;
      types &= ~bit;
      bytes += one.size;
      if (one.kind !== kind || !isAllowed(one, session) || bytes > mostBytes) return false;
      const hdr = { type, reserved: 0, vq_index: index, reserved1: 0, size: one.size };
      found.push(one.encode(hdr, source, index >>> 1));
    }
    if (types !== 0n) return false;
  }
  return found;
}

const isAllowed = ({ requires }: Statistics, session: NetSession): boolean =>
  requires?.some((feature) => session.has(feature)) ?? true;
