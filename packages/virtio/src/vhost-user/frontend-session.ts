import type { Channel } from '../channel/channel.ts';
import type { ChannelHost } from '../channel/channel-host.ts';
import type { ContentHost, DescriptorHost } from '../channel/descriptors.ts';
import { hasContents } from '../channel/descriptors.ts';
import { PeerError, type VirtioError } from '../errors.ts';
import { FeatureSet } from '../spec/features.ts';
import { type BackEndRequests, hearBackEnd } from './frontend-back-end-requests.ts';
import { type AnswerLimit, FrontEndRequests } from './frontend-requests.ts';
import { type FrontEndWindow, windowsOf } from './frontend-windows.ts';
import {
  configFlags,
  limits,
  logAllBit,
  type ProtocolFeatureName,
  protocolFeatureBits,
  protocolFeatureNames,
  protocolFeaturesBit,
} from './protocol.ts';
import type { InBandName } from './vring.ts';

/**
 * What a front end uses of its host. Without channels the back end gets none for requests of its own; without `ContentHost`
 * it can map nothing into shared memory regions.
 */
export type FrontEndHost = DescriptorHost & Partial<ChannelHost> & Partial<ContentHost>;

/** How a connection is negotiated. */
export interface SessionOptions {
  /** Gives up on an answer that does not come; a host with a clock lends one. */
  readonly limit?: AnswerLimit | undefined;
  /** Protocol features to leave alone, though the back end offers them. */
  readonly without?: readonly ProtocolFeatureName[] | undefined;
  /**
   * True has kicks, and what answers them, go as messages, where the back end can do so: slower than events, and each is heard
   * before the next. For simulations.
   */
  readonly inBand?: boolean | undefined;
  /** False leaves all protocol features alone, as front ends of before 2015 do. */
  readonly negotiates?: boolean | undefined;
}

/** Who hears what a back end does unasked. */
export interface SessionListener {
  configChange(): void;
  /** A ring has used buffers, or is broken; false when there is no such ring. */
  notified(name: InBandName, index: number): boolean;
  /** The connection is over, perhaps before it was negotiated; not called for an own `close`. */
  ended(session: FrontEndSession, error: VirtioError): void;
}

const understood: readonly ProtocolFeatureName[] = [
  'MQ',
  'REPLY_ACK',
  'BACKEND_REQ',
  'CONFIG',
  'INFLIGHT_SHMFD',
  'RESET_DEVICE',
  'INBAND_NOTIFICATIONS',
  'CONFIGURE_MEM_SLOTS',
  'STATUS',
  'SHMEM',
];

/** Feature bits that are the two programs' own. */
const privateBits = FeatureSet.of([protocolFeaturesBit, logAllBit]);

/** The most queues that the messages can name. */
const mostQueues = 256;

/** One connection to a back end, negotiated. */
export class FrontEndSession {
  readonly requests: FrontEndRequests;
  /** What the device offers its driver: 64 bits at most. */
  offered: FeatureSet = FeatureSet.empty;
  /** What the back end offers of the protocol; `undefined` where it knows no protocol features. */
  offeredProtocol: ReturnType<typeof protocolFeatureNames> | undefined;
  /** Queues that the back end says it has; `undefined` where it does not tell. */
  queues: number | undefined;
  /** Memory regions that it takes one by one; `undefined` where it takes tables alone. */
  memorySlots: number | undefined;
  /** The device's shared memory regions by id. */
  windows: ReadonlyMap<number, FrontEndWindow> = new Map();
  readonly #host: FrontEndHost;
  readonly #negotiated = new Set<ProtocolFeatureName>();
  #backEnd: BackEndRequests | undefined;

  private constructor(
    channel: Channel,
    host: FrontEndHost,
    options: SessionOptions,
    listener: SessionListener,
  ) {
    this.#host = host;
    this.requests = new FrontEndRequests(channel, options.limit, (error) => {
      this.close();
      listener.ended(this, error);
    });
  }

  /**
   * Negotiates with a back end, and takes the device into possession.
   *
   * @throws {PeerError} BAD_MESSAGE, COMMAND_FAILED.
   * @throws {HostError} DEVICE_GONE.
   */
  static async open(
    channel: Channel,
    host: FrontEndHost,
    options: SessionOptions,
    listener: SessionListener,
  ): Promise<FrontEndSession> {
    const session = new FrontEndSession(channel, host, options, listener);
    try {
      await session.#negotiate(options, listener);
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** True where protocol features were negotiated, hence rings are enabled one by one. */
  get negotiates(): boolean {
    return this.offeredProtocol !== undefined;
  }

  get protocolFeatures(): readonly ProtocolFeatureName[] {
    return [...this.#negotiated];
  }

  has(feature: ProtocolFeatureName): boolean {
    return this.#negotiated.has(feature);
  }

  /** Tells what the driver accepts. */
  setFeatures(features: FeatureSet): Promise<void> {
    const own = this.negotiates ? FeatureSet.of([protocolFeaturesBit]) : FeatureSet.empty;
    const all = features.union(own);
    return this.requests.tell('SET_FEATURES', { u64: (BigInt(all.word(1)) << 32n) | BigInt(all.word(0)) });
  }

  /** Waits until the back end has done all that it was told. */
  async settle(): Promise<void> {
    if (!this.requests.acknowledged) await this.requests.askNumber('GET_FEATURES');
  }

  /**
   * The first `length` bytes of the configuration. It is asked for from its start, since many back ends pay no
   * attention to the offset.
   *
   * @throws {PeerError} BAD_RESPONSE when it has not so many.
   */
  async readConfig(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const asked = { offset: 0, size: length, flags: configFlags.WRITABLE };
    const region = Array.from({ length }, () => 0);
    const { value, payload } = await this.requests.ask('GET_CONFIG', { ...asked, region });
    if (value === undefined || value.size === 0) {
      throw new PeerError('BAD_RESPONSE', `vhost-user: the back end has no ${length} bytes of configuration`);
    }
    const bytes = payload.subarray(payload.length - value.region.length);
    if (value.offset !== 0 || value.size !== length || bytes.length !== length) {
      const error = new PeerError(
        'BAD_RESPONSE',
        `vhost-user: ${bytes.length} bytes of configuration where ${length} were asked for`,
      );
      this.requests.fail(error);
      throw error;
    }
    return bytes;
  }

  /** @throws {PeerError} COMMAND_FAILED when the back end refuses, where it says so. */
  writeConfig(offset: number, bytes: Uint8Array): Promise<void> {
    const { length } = bytes;
    const flags = configFlags.WRITABLE;
    return this.requests.tell('SET_CONFIG', { offset, size: length, flags, region: [...bytes] });
  }

  /** Ends the connection. Safe to call twice. */
  close(): void {
    this.requests.close();
    this.#backEnd?.close();
    this.#backEnd = undefined;
    this.clearWindows();
  }

  /** Takes away all that the back end has mapped, as a reset does. */
  clearWindows(): void {
    for (const window of this.windows.values()) window.clear();
  }

  async #negotiate(options: SessionOptions, listener: SessionListener): Promise<void> {
    const { requests } = this;
    const offer = await requests.askNumber('GET_FEATURES');
    const features = FeatureSet.fromWords([Number(offer & 0xffff_ffffn), Number(offer >> 32n)]);
    this.offered = features.without(privateBits);
    if (features.has(protocolFeaturesBit) && options.negotiates !== false) {
      await this.#negotiateProtocol(new Set(options.without), options.inBand === true);
    }
    await requests.tell('SET_OWNER', {});
    if (this.has('MQ')) {
      const queues = await requests.askNumber('GET_QUEUE_NUM');
      this.queues = queues > mostQueues ? mostQueues : Number(queues);
    }
    if (this.has('CONFIGURE_MEM_SLOTS')) {
      const slots = await requests.askNumber('GET_MAX_MEM_SLOTS');
      this.memorySlots = slots > 0xffff ? 0xffff : Number(slots);
    }
    if (this.has('SHMEM') && hasContents(this.#host)) {
      const { value } = await requests.ask('GET_SHMEM_CONFIG', {});
      if (value !== undefined) this.windows = windowsOf(value, this.#host);
    }
    if (this.has('BACKEND_REQ')) await this.#lendChannel(listener);
  }

  async #negotiateProtocol(without: ReadonlySet<ProtocolFeatureName>, inBand: boolean): Promise<void> {
    const { requests } = this;
    this.offeredProtocol = protocolFeatureNames(await requests.askNumber('GET_PROTOCOL_FEATURES'));
    const offered = new Set(this.offeredProtocol.names);
    for (const feature of understood) {
      if (this.#canUse(feature, offered) && offered.has(feature) && !without.has(feature))
        this.#negotiated.add(feature);
    }
    if (!inBand || !this.has('BACKEND_REQ') || !this.has('REPLY_ACK')) {
      this.#negotiated.delete('INBAND_NOTIFICATIONS');
    }
    await requests.tell('SET_PROTOCOL_FEATURES', { u64: protocolFeatureBits(this.#negotiated) });
    requests.acknowledged = this.has('REPLY_ACK');
  }

  #canUse(feature: ProtocolFeatureName, offered: ReadonlySet<ProtocolFeatureName>): boolean {
    const hasChannels = this.#host.createChannel !== undefined;
    if (feature === 'BACKEND_REQ') return hasChannels;
    // What is to be mapped is told on that channel.
    return feature !== 'SHMEM' || (hasChannels && hasContents(this.#host) && offered.has('BACKEND_REQ'));
  }

  /** Gives the back end a channel for requests of its own. */
  async #lendChannel(listener: SessionListener): Promise<void> {
    const made = this.#host.createChannel?.();
    if (made === undefined) return;
    this.#backEnd = hearBackEnd(made.channel, {
      configChange: () => listener.configChange(),
      notified: (name, index) => this.has('INBAND_NOTIFICATIONS') && listener.notified(name, index),
      window: (id) => this.windows.get(id),
      broken: (error) => this.requests.fail(error),
    });
    try {
      await this.requests.tell('SET_BACKEND_REQ_FD', {}, [made.other]);
    } finally {
      made.other.close();
    }
  }
}

/** The largest configuration that messages can carry, in bytes. */
export const mostConfigBytes: number = limits.configBytes;
