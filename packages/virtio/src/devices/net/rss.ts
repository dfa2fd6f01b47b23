import type { Json } from '../../device/json.ts';
import type { Offload } from '../../link/offload.ts';
import { isPowerOfTwo } from '../../spec/power-of-two.ts';
import type { ReadableCursor } from '../../virtqueue/readable-cursor.ts';
import { PacketHash } from './packet-hash.ts';
import type { NetConfig } from './spec.ts';
import type { Steering } from './steering.ts';
import { Toeplitz } from './toeplitz.ts';

/** What hashes are calculated over, and with which key. */
export interface HashSettings {
  /** Bits of `hashType`. */
  readonly types: number;
  readonly key: Uint8Array;
}

/** How frames are spread by their hashes. */
export interface RssSettings extends HashSettings {
  /** Receive queues, from 0; a power of two of them. */
  readonly table: Uint16Array;
  /** For frames that have no hash. */
  readonly unclassified: number;
  /** Transmit queues that the driver uses. */
  readonly transmitQueues: number;
}

/** Of a `rss_rq_id`: the number of a receive queue; the bit above is reserved. */
const queueBits = 0x7fff;

/** No hash of any packet. */
export const noHashes: HashSettings = Object.freeze({ types: 0, key: new Uint8Array(0) });

/**
 * Reads a `virtio_net_rss_config`; `undefined` when the device cannot do it so.
 *
 * @throws {PeerError} BAD_REQUEST when it is not all there.
 */
export function readRss(data: ReadableCursor, config: NetConfig): RssSettings | undefined {
  const types = data.u32();
  const mask = data.u16();
  const unclassified = data.u16() & queueBits;
  // Looked at before it makes us read: a table has at most as many entries as the device says.
  if (mask >= config.rss_max_indirection_table_length) return undefined;
  const table = new Uint16Array(mask + 1);
  for (let i = 0; i <= mask; i++) table[i] = data.u16() & queueBits;
  const transmitQueues = data.u16();
  const key = readKey(data, config);
  if (key === undefined) return undefined;
  return checkRss({ types, key, table, unclassified, transmitQueues }, config);
}

/**
 * Reads a `virtio_net_hash_config`; `undefined` when the device cannot do it so. What is reserved is not looked at: Linux has
 * the fields of the larger structure there.
 *
 * @throws {PeerError} BAD_REQUEST when it is not all there.
 */
export function readHash(data: ReadableCursor, config: NetConfig): HashSettings | undefined {
  const types = data.u32();
  for (let i = 0; i < 4; i++) data.u16();
  const key = readKey(data, config);
  return key === undefined ? undefined : checkHash({ types, key }, config);
}

function readKey(data: ReadableCursor, config: NetConfig): Uint8Array | undefined {
  const length = data.u8();
  return length > config.rss_max_key_size ? undefined : data.bytes(length);
}

function checkHash<T extends HashSettings>(settings: T, config: NetConfig): T | undefined {
  const isSupported = (settings.types & ~config.supported_hash_types) === 0;
  return isSupported && settings.key.length <= config.rss_max_key_size ? settings : undefined;
}

function checkRss(settings: RssSettings, config: NetConfig): RssSettings | undefined {
  const { table, unclassified, transmitQueues } = settings;
  const pairs = config.max_virtqueue_pairs;
  const fits = isPowerOfTwo(table.length) && table.length <= config.rss_max_indirection_table_length;
  if (!fits || unclassified >= pairs || table.some((queue) => queue >= pairs)) return undefined;
  if (transmitQueues < 1 || transmitQueues > pairs) return undefined;
  return checkHash(settings, config);
}

/** Settings as another device may take them up. */
export function saveHash({ types, key }: HashSettings): { readonly types: number; readonly key: number[] } {
  return { types, key: [...key] };
}

/** `undefined` for what no device has saved, or one that could more. */
export function restoreHash(state: Json | undefined, config: NetConfig): HashSettings | undefined {
  const fields = fieldsOf(state);
  const types = fields?.types;
  const key = numbersOf(fields?.key, 0xff);
  if (typeof types !== 'number' || key === undefined) return undefined;
  return checkHash({ types, key: Uint8Array.from(key) }, config);
}

export function saveRss(settings: RssSettings): Json {
  const { table, unclassified, transmitQueues } = settings;
  return { ...saveHash(settings), table: [...table], unclassified, transmitQueues };
}

export function restoreRss(state: Json | undefined, config: NetConfig): RssSettings | undefined {
  const hash = restoreHash(state, config);
  const fields = fieldsOf(state);
  const table = numbersOf(fields?.table, queueBits);
  const { unclassified, transmitQueues } = fields ?? {};
  if (hash === undefined || table === undefined) return undefined;
  if (typeof unclassified !== 'number' || typeof transmitQueues !== 'number') return undefined;
  return checkRss({ ...hash, table: Uint16Array.from(table), unclassified, transmitQueues }, config);
}

/** The fields of a saved object. */
export function fieldsOf(state: Json | undefined): { readonly [name: string]: Json } | undefined {
  if (typeof state !== 'object' || state === null || isList(state)) return undefined;
  return state;
}

function numbersOf(state: Json | undefined, most: number): readonly number[] | undefined {
  if (typeof state !== 'object' || state === null || !isList(state)) return undefined;
  const isNumber = (one: Json): one is number => typeof one === 'number' && one >= 0 && one <= most;
  return state.every(isNumber) ? state : undefined;
}

export function isList(state: Json): state is readonly Json[] {
  return Array.isArray(state);
}

/** What hashes packets, now: settings come by one command, encapsulations by another. */
export class Hashing {
  /** Bits of `hashTunnelType`. */
  tunnels = 0;
  readonly packet = new PacketHash();
  #settings: HashSettings = noHashes;
  #toeplitz = new Toeplitz(noHashes.key);

  get settings(): HashSettings {
    return this.#settings;
  }

  set settings(settings: HashSettings) {
    this.#settings = settings;
    this.#toeplitz = new Toeplitz(settings.key);
  }

  /** Calculates the hash of a frame, which `packet` tells then; true when it has one. */
  calculate(frame: Uint8Array): boolean {
    return this.packet.calculate(frame, this.#settings.types, this.#toeplitz, this.tunnels);
  }
}

/**
 * Receive-side scaling: a frame's hash is a place in a table of queues.
 *
 * @spec 5.1.9.5.7.3 device: Device Types / Network Device / Device Operation / Control Virtqueue / Receive-side scaling (RSS) / RSS processing
 */
export class RssSteering implements Steering {
  /** A frame whose queue is being reset is dropped. */
  readonly exact = true;
  readonly #hashing: Hashing;
  readonly #settings: RssSettings;
  readonly #mask: number;

  constructor(hashing: Hashing, settings: RssSettings) {
    this.#hashing = hashing;
    this.#settings = settings;
    this.#mask = settings.table.length - 1;
  }

  get hash(): number {
    return this.#hashing.packet.value;
  }

  get hashReport(): number {
    return this.#hashing.packet.report;
  }

  queueFor(frame: Uint8Array): number {
    const { table, unclassified } = this.#settings;
    return this.#hashing.calculate(frame) ? table[this.hash & this.#mask]! : unclassified;
  }
}

/** Frames are spread in another way, and their hashes are reported. */
export class ReportingSteering implements Steering {
  readonly #hashing: Hashing;
  readonly #steering: Steering;

  constructor(hashing: Hashing, steering: Steering) {
    this.#hashing = hashing;
    this.#steering = steering;
  }

  get hash(): number {
    return this.#hashing.packet.value;
  }

  get hashReport(): number {
    return this.#hashing.packet.report;
  }

  queueFor(frame: Uint8Array, offload: Offload): number {
    this.#hashing.calculate(frame);
    return this.#steering.queueFor(frame, offload);
  }

  sent(frame: Uint8Array, queue: number): void {
    this.#steering.sent?.(frame, queue);
  }
}
