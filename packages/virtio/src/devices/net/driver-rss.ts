import { PeerError, UsageError } from '../../errors.ts';
import { dataView } from '../../spec/data-view.ts';
import { joined } from '../../spec/joined.ts';
import { isPowerOfTwo } from '../../spec/power-of-two.ts';
import type { OpenNet } from './driver.ts';
import { controlClass, mqCommand } from './spec-control.ts';
import {
  hashTunnelCommand,
  rssContextCommand,
  virtio_net_hash_config,
  virtio_net_rss_config,
  virtio_net_rss_config_key,
  virtnet_hash_tunnel,
  virtnet_rss_ctx_add_modify,
  virtnet_rss_ctx_cap,
  virtnet_rss_ctx_del,
} from './spec-hash.ts';

/** Over what the device calculates hashes, and with which key. */
export interface Hashes {
  /** Bits of `hashType`, out of the device's. */
  readonly types: number;
  /** At most `rss_max_key_size` bytes. */
  readonly key: Uint8Array;
}

/** How the device spreads frames by their hashes. */
export interface Rss extends Hashes {
  /** Receive queues that the driver uses, from 0: a power of two of them, at most `rss_max_indirection_table_length`. */
  readonly table: readonly number[];
  /** The receive queue for frames that have no hash; 0 unless told. */
  readonly unclassified?: number;
  /** Transmit queues that are used; all that the driver has, unless told. */
  readonly transmitQueues?: number;
}

/**
 * Has frames spread over the receive queues by their hashes.
 *
 * Rejects as commands of {@link OpenNet} do.
 *
 * @throws {UsageError} BAD_ARGUMENT for what the specification or the device does not allow.
 * @spec 5.1.9.5.7.2 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Receive-side scaling (RSS)
 */
export async function setRss(net: OpenNet, rss: Rss): Promise<void> {
  await net.command(['RSS'], controlClass.MQ, mqCommand.RSS_CONFIG, encodeRss(net, rss));
}

/**
 * Has hashes reported of frames that are not spread by them.
 *
 * @throws {UsageError} BAD_ARGUMENT for what the device does not allow.
 */
export async function setHashes(net: OpenNet, hashes: Hashes): Promise<void> {
  checkHashes(net, hashes);
  const { types, key } = hashes;
  const data = virtio_net_hash_config.encode({
    hash_types: types,
    hash_key_length: key.length,
    hash_key_data: [...key],
  });
  await net.command(['HASH_REPORT'], controlClass.MQ, mqCommand.HASH_CONFIG, data);
}

/**
 * Has the inner headers hashed of some encapsulations: bits of `hashTunnelType`, out of the device's. 0 for none.
 *
 * @throws {UsageError} BAD_ARGUMENT for one that the device does not know.
 * @spec 5.1.9.4.4.5 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Inner Header Hash
 */
export async function setHashTunnels(net: OpenNet, types: number): Promise<void> {
  if ((types & ~(net.config.supported_tunnel_types ?? 0)) !== 0) {
    throw new UsageError('BAD_ARGUMENT', `net: the device does not know all of the encapsulations ${types}`);
  }
  const data = virtnet_hash_tunnel.encode({ enabled_tunnel_types: types });
  await net.command(['HASH_TUNNEL'], controlClass.HASH_TUNNEL, hashTunnelCommand.SET, data);
}

/** RSS contexts of an open network device: sets of RSS parameters, by ids from 1. */
export class OpenRssContexts {
  /** How many there can be. */
  readonly most: number;
  readonly #net: OpenNet;

  /** @internal Use {@link openRssContexts}. */
  constructor(net: OpenNet, most: number) {
    this.#net = net;
    this.most = most;
  }

  /** @throws {UsageError} BAD_ARGUMENT for an id that cannot be, or parameters that the device does not allow. */
  async add(id: number, rss: Rss): Promise<void> {
    await this.#set(rssContextCommand.ADD, id, rss);
  }

  /** @throws {UsageError} as `add`. */
  async change(id: number, rss: Rss): Promise<void> {
    await this.#set(rssContextCommand.MOD, id, rss);
  }

  /** @throws {UsageError} BAD_ARGUMENT for an id that cannot be. */
  async remove(id: number): Promise<void> {
    this.#check(id);
    const data = virtnet_rss_ctx_del.encode({ rss_ctx_id: id });
    await this.#net.command(['RSS_CONTEXT'], controlClass.RSS_CTX, rssContextCommand.DEL, data);
  }

  async #set(command: number, id: number, rss: Rss): Promise<void> {
    this.#check(id);
    const head = virtnet_rss_ctx_add_modify.encode({ rss_ctx_id: id });
    const data = joined(head, encodeRss(this.#net, rss));
    await this.#net.command(['RSS_CONTEXT'], controlClass.RSS_CTX, command, data);
  }

  #check(id: number): void {
    if (Number.isInteger(id) && id >= 1 && id <= this.most) return;
    throw new UsageError('BAD_ARGUMENT', `net: RSS contexts are 1 to ${this.most}, not ${id}`);
  }
}

/**
 * Asks how many RSS contexts there can be.
 *
 * @throws {PeerError} BAD_RESPONSE when the device offers them and has none.
 * @spec 5.1.9.5.8.4 driver: Device Types / Network Device / Device Operation / Control Virtqueue / RSS Context
 */
export async function openRssContexts(net: OpenNet): Promise<OpenRssContexts> {
  const { size, read } = virtnet_rss_ctx_cap;
  const answer = await net.command(
    ['RSS_CONTEXT'],
    controlClass.RSS_CTX,
    rssContextCommand.CAP_GET,
    new Uint8Array(),
    size,
  );
  const most = answer.length < size ? 0 : read(dataView(answer)).max_rss_contexts;
  if (most === 0)
    throw new PeerError('BAD_RESPONSE', 'the network device has no RSS contexts, though it says so');
  return new OpenRssContexts(net, most);
}

function encodeRss(net: OpenNet, rss: Rss): Uint8Array {
  checkHashes(net, rss);
  const { types, key, table, unclassified = 0, transmitQueues = net.queuePairs } = rss;
  const most = net.config.rss_max_indirection_table_length ?? 0;
  if (!isPowerOfTwo(table.length) || table.length > most) {
    throw new UsageError('BAD_ARGUMENT', `net: a table has a power of two of queues, at most ${most}`);
  }
  const isQueue = (queue: number): boolean => Number.isInteger(queue) && queue >= 0 && queue < net.queuePairs;
  if (!table.every(isQueue) || !isQueue(unclassified) || !isQueue(transmitQueues - 1)) {
    throw new UsageError(
      'BAD_ARGUMENT',
      `net: the driver has ${net.queuePairs} pairs of queues, numbered from 0`,
    );
  }
  const id = (queue: number) => ({ vq_index_1_16: queue, reserved: 0 });
  return joined(
    virtio_net_rss_config.encode({
      hash_types: types,
      indirection_table_mask: table.length - 1,
      unclassified_queue: id(unclassified),
      indirection_table: table.map(id),
    }),
    virtio_net_rss_config_key.encode({
      max_tx_vq: transmitQueues,
      hash_key_length: key.length,
      hash_key_data: [...key],
    }),
  );
}

function checkHashes(net: OpenNet, { types, key }: Hashes): void {
  if ((types & ~(net.config.supported_hash_types ?? 0)) !== 0) {
    throw new UsageError('BAD_ARGUMENT', `net: the device does not know all of the hash types ${types}`);
  }
  const most = net.config.rss_max_key_size ?? 0;
  if (key.length > most) throw new UsageError('BAD_ARGUMENT', `net: a key has at most ${most} bytes`);
}
