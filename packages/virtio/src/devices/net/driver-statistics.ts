import { PeerError } from '../../errors.ts';
import { dataView } from '../../spec/data-view.ts';
import { joined } from '../../spec/joined.ts';
import type { Fields, Struct, StructValue } from '../../spec/layout.ts';
import type { OpenNet } from './driver.ts';
import { controlClass } from './spec-control.ts';
import {
  statsCommand,
  statsType,
  virtio_net_ctrl_queue_stats_entry,
  virtio_net_stats_capabilities,
  virtio_net_stats_cvq,
  virtio_net_stats_reply_hdr,
  virtio_net_stats_rx_basic,
  virtio_net_stats_rx_csum,
  virtio_net_stats_rx_gso,
  virtio_net_stats_rx_speed,
  virtio_net_stats_tx_basic,
  virtio_net_stats_tx_csum,
  virtio_net_stats_tx_gso,
  virtio_net_stats_tx_speed,
} from './spec-stats.ts';

/** Counters by the names that the specification gives them: `rx_packets`. */
export type Counters = Readonly<Record<string, bigint>>;

/** What a device has counted. */
export interface NetStatistics {
  /** Of each receive queue that the driver has, those counters that the device has. */
  readonly receive: readonly Counters[];
  readonly transmit: readonly Counters[];
  readonly control: Counters;
}

type ReplyFields = Fields & { readonly hdr: typeof virtio_net_stats_reply_hdr };

/** The structure of each type, and whose it is: 0 for receive queues, 1 for transmit queues, 2 for the control queue. */
const layouts: ReadonlyMap<number, { readonly of: 0 | 1 | 2; readonly layout: Struct<ReplyFields> }> =
  new Map<number, { of: 0 | 1 | 2; layout: Struct<ReplyFields> }>([
    [statsType.RX_BASIC, { of: 0, layout: virtio_net_stats_rx_basic }],
    [statsType.RX_CSUM, { of: 0, layout: virtio_net_stats_rx_csum }],
    [statsType.RX_GSO, { of: 0, layout: virtio_net_stats_rx_gso }],
    [statsType.RX_SPEED, { of: 0, layout: virtio_net_stats_rx_speed }],
    [statsType.TX_BASIC, { of: 1, layout: virtio_net_stats_tx_basic }],
    [statsType.TX_CSUM, { of: 1, layout: virtio_net_stats_tx_csum }],
    [statsType.TX_GSO, { of: 1, layout: virtio_net_stats_tx_gso }],
    [statsType.TX_SPEED, { of: 1, layout: virtio_net_stats_tx_speed }],
    [statsType.CVQ, { of: 2, layout: virtio_net_stats_cvq }],
  ]);

/**
 * Asks for all that the device has counted, of the queues that the driver has.
 *
 * @throws {PeerError} BAD_RESPONSE for an answer that is none.
 * @spec 5.1.9.5.11.13 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Device Statistics
 */
export async function readStatistics(net: OpenNet): Promise<NetStatistics> {
  const types = await supportedTypes(net);
  const pairs = net.queuePairs;
  const most = net.has('MQ') || net.has('RSS') ? (net.config.max_virtqueue_pairs ?? 1) : 1;
  const indexes = [...Array.from({ length: 2 * pairs }, (_, index) => index), 2 * most];
  const kindOf = (index: number): number => (index === 2 * most ? 2 : index % 2);
  const asked: Uint8Array[] = [];
  let room = 0;
  for (const index of indexes) {
    let bitmap = 0n;
    for (const [type, { of, layout }] of layouts) {
      if (of !== kindOf(index) || !types.has(type)) continue;
      bitmap |= 1n << BigInt(type);
      room += layout.size;
    }
    if (bitmap === 0n) continue;
    asked.push(virtio_net_ctrl_queue_stats_entry.encode({ vq_index: index, types_bitmap: [bitmap] }));
  }
  const answer = await net.command(
    ['DEVICE_STATS'],
    controlClass.STATS,
    statsCommand.GET,
    joined(...asked),
    room,
  );
  const counters: Record<string, bigint>[] = Array.from({ length: indexes.length }, () => ({}));
  readReplies(answer, (index, values) => {
    const place = indexes.indexOf(index);
    if (place < 0) throw bad('answers for a queue that was not asked for');
    Object.assign(counters[place]!, values);
  });
  const ofKind = (kind: number): Counters[] => counters.filter((_, i) => kindOf(indexes[i]!) === kind);
  return { receive: ofKind(0), transmit: ofKind(1), control: ofKind(2)[0] ?? {} };
}

async function supportedTypes(net: OpenNet): Promise<Set<number>> {
  const { size } = virtio_net_stats_capabilities;
  const answer = await net.command(
    ['DEVICE_STATS'],
    controlClass.STATS,
    statsCommand.QUERY,
    new Uint8Array(),
    size,
  );
  if (answer.length < size) throw bad('does not tell which statistics it has');
  const bits = virtio_net_stats_capabilities.read(dataView(answer)).supported_stats_types[0] ?? 0n;
  return new Set([...layouts.keys()].filter((type) => ((bits >> BigInt(type)) & 1n) !== 0n));
}

/** Each reply is as long as it says; one that is longer than we know has more at its end. */
function readReplies(answer: Uint8Array, found: (index: number, values: Counters) => void): void {
  for (let at = 0; at < answer.length; ) {
    const rest = answer.subarray(at);
    if (rest.length < virtio_net_stats_reply_hdr.size) throw bad('has statistics that are cut short');
    const { type, vq_index, size } = virtio_net_stats_reply_hdr.read(dataView(rest));
    const known = layouts.get(type);
    if (size < virtio_net_stats_reply_hdr.size || size > rest.length) {
      throw bad('has statistics of a length that cannot be');
    }
    if (known !== undefined) {
      if (size < known.layout.size) throw bad('has statistics that are cut short');
      found(vq_index, countersOf(known.layout.read(dataView(rest))));
    }
    at += size;
  }
}

function countersOf(value: StructValue<ReplyFields>): Counters {
  const counters: Record<string, bigint> = {};
  for (const [name, count] of Object.entries(value)) if (typeof count === 'bigint') counters[name] = count;
  return counters;
}

const bad = (what: string): PeerError => new PeerError('BAD_RESPONSE', `the network device ${what}`);
