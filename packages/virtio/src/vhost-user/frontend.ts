import type { Channel } from '../channel/channel.ts';
import { type DriverMemory, SharedMemory } from '../channel/shared-memory.ts';
import type { Deviation, NotificationListener, Transport } from '../driver/transport.ts';
import { HostError, PeerError, UsageError, VirtioError } from '../errors.ts';
import type { Allocator } from '../memory/allocator.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { deviceMistakes } from '../peer-errors.ts';
import { busFreeFeatures, FeatureSet, type ReservedFeatureName, reservedFeatures } from '../spec/features.ts';
import { status } from '../spec/status.ts';
import type { QueueAreas } from '../virtqueue/queue.ts';
import { FrontEndConfig } from './frontend-config.ts';
import { gone } from './frontend-requests.ts';
import { FrontEndRings, type Restart } from './frontend-rings.ts';
import { type FrontEndHost, FrontEndSession, type SessionOptions } from './frontend-session.ts';
import type { Vring } from './frontend-vring.ts';
import type { FrontEndWindow } from './frontend-windows.ts';
import type { InBandName } from './vring.ts';

/** How a front end drives a back end. */
export interface VhostUserOptions extends SessionOptions {
  /** The virtio device id (chapter 5) of what is behind the connection: the protocol does not tell it. */
  readonly deviceId: number;
  /** The memory to share, which stays the caller's, or how many bytes of it to make; 64 MiB unless told. */
  readonly memory?: DriverMemory | number | undefined;
  /** How many queues the device has, where the back end does not tell, or tells something else. */
  readonly queues?: number | undefined;
  /** The largest queue size to use; 1024 unless told, which many back ends have as their limit and do not tell. */
  readonly queueMaxSize?: number | undefined;
  /** The configuration of a device whose back end keeps none, as a network interface's: the front end's own then. */
  readonly config?: Uint8Array | undefined;
  /**
   * How used buffers are noticed: `watched`, by an event of the back end, unless told; or `polled`, by `poll`. The
   * back end then sends no events.
   */
  readonly calls?: 'watched' | 'polled' | undefined;
  readonly deviations?: readonly Deviation[] | undefined;
  /**
   * Called when the connection has ended, to give a new one, to the same back end or to its successor: `attempt` counts
   * from 1. `undefined` gives up. Requests that were in flight are carried out by the new one.
   */
  readonly reconnect?: ((attempt: number) => Promise<Channel | undefined>) | undefined;
}

const defaultMemory = 64 * 2 ** 20;
const defaultQueueMaxSize = 1024;

/** What stands in memory is the same on every transport; a kick is an event, which carries no data. */
const carried = busFreeFeatures.filter((name) => name !== 'ACCESS_PLATFORM' && name !== 'SUSPEND');

/** The driver's end of a vhost-user device: what `open` needs. The device is in another process, and no guest is there. */
export class VhostUserTransport implements Transport {
  readonly deviceId: number;
  readonly memory: GuestMemory;
  readonly allocator: Allocator;
  readonly carries: readonly ReservedFeatureName[];
  readonly deviations: readonly Deviation[] | undefined;
  readonly statusIsWriteOnly: boolean;

  readonly #host: FrontEndHost;
  readonly #options: VhostUserOptions;
  readonly #rings: FrontEndRings;
  /** Memory of the transport's own. */
  readonly #own: SharedMemory | undefined;
  readonly #config: FrontEndConfig;
  /** Good while there is a connection; the next one replaces it. */
  #session!: FrontEndSession;
  #features: FeatureSet | undefined;
  /** The back end did not take the features, and said so. */
  #refused = false;
  #status = 0;
  #listener: NotificationListener | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #owesConfigChange = false;
  /** Settles when a new connection has taken the place of the one that ended, or none will. */
  #recovery: Promise<void> | undefined;
  /** Why there is no connection, and will be none. */
  #failure: VirtioError | undefined;
  #closed = false;

  private constructor(
    host: FrontEndHost,
    options: VhostUserOptions,
    shared: DriverMemory,
    session: FrontEndSession,
  ) {
    this.#host = host;
    this.#options = options;
    this.#own = shared instanceof SharedMemory && shared !== options.memory ? shared : undefined;
    this.deviceId = options.deviceId;
    this.memory = shared.memory;
    this.allocator = shared.allocator;
    this.deviations = options.deviations;
    this.statusIsWriteOnly = !session.has('STATUS');
    this.carries = this.statusIsWriteOnly ? carried : [...carried, 'SUSPEND'];
    this.#config = new FrontEndConfig(options.config);
    const watched = options.calls !== 'polled';
    this.#rings = new FrontEndRings(host, shared.ranges, {
      used: watched ? (queue) => this.#listener?.usedBuffer(queue) : undefined,
      failed: (queue) => this.#brokenRing(queue),
    });
  }

  /**
   * Negotiates the protocol with the back end behind a channel, which it takes over.
   *
   * @throws {PeerError} BAD_MESSAGE, BAD_RESPONSE, COMMAND_FAILED when the back end does not keep to the protocol.
   * @throws {HostError} DEVICE_GONE when it goes away or does not answer; NO_SPACE or IO_ERROR without memory.
   */
  static async connect(
    channel: Channel,
    host: FrontEndHost,
    options: VhostUserOptions,
  ): Promise<VhostUserTransport> {
    let transport: VhostUserTransport | undefined;
    const session = await FrontEndSession.open(channel, host, options, {
      configChange: () => transport?.configChange(),
      notified: (name, index) => transport?.notified(name, index) ?? false,
      ended: (ended, error) => transport?.lost(ended, error),
    });
    try {
      // What came behind the last answer was heard before there was anybody to tell.
      if (session.requests.failure !== undefined) throw session.requests.failure;
      const { memory = defaultMemory } = options;
      const shared = typeof memory === 'number' ? new SharedMemory(host, memory) : memory;
      transport = new VhostUserTransport(host, options, shared, session);
      transport.#session = session;
      return transport;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** The connection: what was negotiated of the protocol. It is another after a reconnection. */
  get session(): FrontEndSession {
    return this.#session;
  }

  async readDeviceFeatures(): Promise<FeatureSet> {
    return this.#inTurn(async (session) => session.offered);
  }

  /** What is not offered is refused here: a back end may end the connection over it. */
  writeDriverFeatures(features: FeatureSet): Promise<void> {
    return this.#inTurn(async (session) => {
      this.#refused = !features.without(session.offered).isEmpty();
      if (this.#refused) return;
      this.#features = features;
      try {
        await session.setFeatures(features);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        this.#refused = true;
      }
    });
  }

  /** Without a status of the back end's own it is what was written, but for FEATURES_OK where the features were refused. */
  readStatus(): Promise<number> {
    return this.#inTurn(async (session) => {
      if (this.statusIsWriteOnly) return this.#refused ? this.#status & ~status.FEATURES_OK : this.#status;
      const value = Number((await session.requests.askNumber('GET_STATUS')) & 0xffn);
      return this.#refused ? value & ~status.FEATURES_OK : value;
    });
  }

  /** DRIVER_OK gives the back end memory and rings, once features were accepted; 0 takes the rings away. */
  writeStatus(value: number): Promise<void> {
    return this.#inTurn(async (session) => {
      if (value === 0) await this.#reset(session);
      const isReady = (value & status.DRIVER_OK) !== 0 && this.#features !== undefined;
      const starts = isReady && !this.#rings.started;
      if (starts) await this.#rings.start(session);
      this.#status = value;
      if (!this.statusIsWriteOnly) await session.requests.tell('SET_STATUS', { u64: BigInt(value) });
      if (starts) await this.#begin(session);
    });
  }

  /** @throws {PeerError} BAD_RESPONSE when the back end has none there. */
  readConfig(offset: number, length: number): Promise<Uint8Array> {
    return this.#inTurn((session) => this.#config.read(session, offset, length));
  }

  /** @throws {PeerError} COMMAND_FAILED when the back end refuses, where it says so. */
  writeConfig(offset: number, bytes: Uint8Array): Promise<void> {
    return this.#inTurn((session) => this.#config.write(session, offset, bytes));
  }

  configGeneration(): Promise<number> {
    return this.#inTurn((session) => this.#config.look(session));
  }

  /**
   * A shared memory region (2.10) by the id that the device type gives it; `undefined` when the device has none of that id.
   * Its mappings are gone after a reset, and the region itself with its connection.
   */
  sharedMemory(id: number): Promise<FrontEndWindow | undefined> {
    return this.#inTurn(async (session) => session.windows.get(id));
  }

  /** The protocol does not tell it: what this front end uses at most. */
  async queueMaxSize(index: number): Promise<number> {
    return this.#inTurn(async (session) => {
      const queues = this.#options.queues ?? session.queues ?? 256;
      return index < queues ? (this.#options.queueMaxSize ?? defaultQueueMaxSize) : 0;
    });
  }

  /** @throws {UsageError} BAD_STATE when it is set up by an earlier call. */
  enableQueue(index: number, areas: QueueAreas): Promise<void> {
    let vring: Vring | undefined;
    return this.#inTurn(async (session) => {
      if (vring === undefined && this.#rings.at(index) !== undefined) {
        throw new UsageError('BAD_STATE', `queue ${index} is set up already`);
      }
      vring ??= this.#rings.make(index, areas, this.#features?.has(reservedFeatures.RING_PACKED) ?? false);
      // A new connection has it already.
      if (!this.#rings.started || vring.live) return;
      await vring.setUp(session);
      await vring.enable(session, true);
      await session.settle();
    });
  }

  resetQueue(index: number): Promise<void> {
    return this.#inTurn((session) => this.#rings.stopOne(session, index));
  }

  kick(index: number): void {
    this.#rings.at(index)?.kick();
  }

  listen(listener: NotificationListener | undefined): void {
    this.#listener = listener;
  }

  /** Looks for used buffers of all queues, where no events tell of them. */
  poll(): void {
    this.#listener?.usedBuffer(undefined);
  }

  /** Stops the rings, ends the connection, and lets go of the memory. A back end that does not answer is left. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener = undefined;
    const session = this.#session;
    try {
      if (this.#recovery === undefined) await this.#last;
      if (session.requests.failure === undefined) await this.#reset(session);
    } catch (error) {
      if (!(error instanceof VirtioError)) throw error;
      // It is let go of all the same.
    } finally {
      session.close();
      this.#rings.forget();
      this.#own?.close();
    }
  }

  /** @internal Changes that come while one is not told of yet are one: a back end can send any number. */
  configChange(): void {
    if (this.#owesConfigChange) return;
    this.#owesConfigChange = true;
    this.#inTurn(async () => {
      this.#owesConfigChange = false;
      this.#listener?.configChange();
    }).catch(() => {
      // There is no device any more, and the driver hears of that.
    });
  }

  /** @internal The back end notifies by a message. */
  notified(name: InBandName, index: number): boolean {
    return this.#rings.at(index)?.heard(name) ?? false;
  }

  /** @internal The connection has ended. */
  lost(session: FrontEndSession, error: VirtioError): void {
    if (
      this.#closed ||
      session !== this.#session ||
      this.#failure !== undefined ||
      this.#recovery !== undefined
    )
      return;
    const { reconnect } = this.#options;
    if (reconnect === undefined || error instanceof PeerError) {
      this.#giveUp(error);
      return;
    }
    this.#recovery = this.#recover(reconnect, error).finally(() => {
      this.#recovery = undefined;
      // It may have ended again already.
      const { failure } = this.#session.requests;
      if (failure !== undefined) this.lost(this.#session, failure);
    });
  }

  async #recover(
    reconnect: (attempt: number) => Promise<Channel | undefined>,
    cause: VirtioError,
  ): Promise<void> {
    let error = cause;
    for (let attempt = 1; !this.#closed; attempt++) {
      let channel: Channel | undefined;
      try {
        channel = await reconnect(attempt);
      } catch (failure) {
        error = failure instanceof VirtioError ? failure : gone('there is no new connection', failure);
      }
      if (channel === undefined) break;
      try {
        await this.#resume(channel);
        return;
      } catch (failure) {
        error = failure instanceof VirtioError ? failure : gone('the new connection failed', failure);
        // What ended while it was set up may hold the next time; a peer that breaks the rules will again.
        if (!(failure instanceof HostError)) break;
      }
    }
    this.#giveUp(error);
  }

  /** Brings a new back end to where the old one was. */
  async #resume(channel: Channel): Promise<void> {
    const session = await FrontEndSession.open(channel, this.#host, this.#options, {
      configChange: () => this.configChange(),
      notified: (name, index) => this.notified(name, index),
      ended: (ended, error) => this.lost(ended, error),
    });
    if (this.#closed) {
      session.close();
      return;
    }
    this.#session = session;
    try {
      this.#checkSuccessor(session);
      await this.#tellStatusSoFar(session);
      if (this.#rings.started) {
        const restart: Restart = (index, remembers) => this.#listener?.restarting?.(index, remembers);
        const positions = this.#rings.positions(session, restart);
        if (positions === undefined) {
          this.#giveUp(gone('the new back end cannot know what was in flight'));
          return;
        }
        await this.#rings.start(session, positions);
        if (!this.statusIsWriteOnly) await session.requests.tell('SET_STATUS', { u64: BigInt(this.#status) });
        await this.#begin(session);
        this.#listener?.usedBuffer(undefined);
      }
      this.#listener?.configChange();
    } catch (error) {
      session.close();
      throw error;
    }
  }

  #checkSuccessor(session: FrontEndSession): void {
    const lacks = (this.#features ?? FeatureSet.empty).without(session.offered);
    if (!lacks.isEmpty() || (!this.statusIsWriteOnly && !session.has('STATUS'))) {
      throw new PeerError(
        'OFFER_INVALID',
        'vhost-user: the new back end offers less than was negotiated before',
        deviceMistakes.OFFER_INVALID,
      );
    }
  }

  async #tellStatusSoFar(session: FrontEndSession): Promise<void> {
    const steps = this.#status & ~status.DRIVER_OK;
    if (!this.statusIsWriteOnly) {
      await session.requests.tell('SET_STATUS', { u64: 0n });
      await session.requests.tell('SET_STATUS', { u64: BigInt(steps & ~status.FEATURES_OK) });
    }
    if (this.#features !== undefined) await session.setFeatures(this.#features);
    if (!this.statusIsWriteOnly) await session.requests.tell('SET_STATUS', { u64: BigInt(steps) });
  }

  /** The back end is told that the driver is ready before it begins. */
  async #begin(session: FrontEndSession): Promise<void> {
    if (!this.statusIsWriteOnly) await session.settle();
    this.#rings.kickAll();
  }

  async #reset(session: FrontEndSession): Promise<void> {
    const wasStarted = this.#rings.started;
    await this.#rings.stop(session);
    session.clearWindows();
    if (session.has('RESET_DEVICE') && wasStarted) await session.requests.tell('RESET_DEVICE', {});
    this.#features = undefined;
    this.#refused = false;
  }

  #brokenRing(index: number): void {
    if (this.#closed) return;
    this.#listener?.gone?.(
      new PeerError(
        'DEVICE_NEEDS_RESET',
        `vhost-user: the back end cannot go on with queue ${index}`,
        deviceMistakes.DEVICE_NEEDS_RESET,
      ),
    );
  }

  #giveUp(error: VirtioError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#session.close();
    this.#rings.forget();
    this.#listener?.gone?.(error);
  }

  /** Messages that belong together follow one another. What a new connection interrupts is done once more over that. */
  #inTurn<R>(task: (session: FrontEndSession) => Promise<R>): Promise<R> {
    const turn = this.#last.then(async () => {
      for (;;) {
        await this.#recovery;
        if (this.#failure !== undefined) throw this.#failure;
        if (this.#closed) throw new UsageError('BAD_STATE', 'the transport is closed');
        const session = this.#session;
        try {
          return await task(session);
        } catch (error) {
          const isReplaced = this.#recovery !== undefined || session !== this.#session;
          if (error !== session.requests.failure || !isReplaced) throw error;
        }
      }
    });
    this.#last = turn.catch(() => {});
    return turn;
  }
}

const isRefusal = (error: unknown): boolean => error instanceof PeerError && error.code === 'COMMAND_FAILED';
