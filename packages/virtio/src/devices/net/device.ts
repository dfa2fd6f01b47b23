import type { ActiveQueue, Moderation } from '../../device/active-queue.ts';
import type { DeviceResources } from '../../device/admin/resource-object.ts';
import { Device } from '../../device/device.ts';
import type { Json } from '../../device/json.ts';
import { UsageError } from '../../errors.ts';
import type { Endpoint, Link } from '../../link/endpoint.ts';
import { ethernetHeader } from '../../link/numbers.ts';
import { noOffloads, type Offload, segmentation, type TakenOffloads } from '../../link/offload.ts';
import { Arrivals } from './arrivals.ts';
import { Coalescing, coalescingClass, type NetTimer } from './coalescing.ts';
import { ControlCounters, type ControlTable, serveControl } from './control.ts';
import { announceClass, guestOffloadsClass } from './control-driver.ts';
import { macClass, rxClass, vlanClass } from './control-filter.ts';
import { hashTunnelClass, RssContexts, rssContextClass } from './control-hash.ts';
import { mqClass } from './control-mq.ts';
import type { RxCounters, TxCounters } from './counters.ts';
import { duplexValue, type NetOffer, offerOf, whole } from './offer.ts';
import type { NetOptions } from './options.ts';
import { ReceiveFilter } from './receive-filter.ts';
import { Receiver } from './receiver.ts';
import { Hashing } from './rss.ts';
import type { FrameSecurity } from './security.ts';
import { type NetConfig, net, netStatus, taggedEthernetHeader } from './spec.ts';
import { controlClass } from './spec-control.ts';
import type { NetControls, NetSession } from './state.ts';
import { statisticsClass } from './statistics.ts';
import { FilteredSteering, type FrameFilter, firstQueue, type Steering } from './steering.ts';
import { Transmitter } from './transmitter.ts';

/** A network device: one end of a link is its driver's. */
export class NetDevice extends Device<typeof net> {
  readonly #port: Port;

  /** @internal Use {@link netDevice}. */
  constructor(options: NetOptions) {
    const offer = offerOf(options);
    const { features, config, queuePairs, queueSize } = offer;
    const filter = options.flowFilters?.(queuePairs, options.ipsec !== undefined);
    const security = options.ipsec?.();
    const port: Port = new Port(offer, filter, security, options.timer, {
      get: () => this.config,
      update: (values) => this.updateConfig(values),
    });
    super(net, {
      offers: features,
      legacyOffers: features.includes('HOST_TSO4') ? ['GSO'] : [],
      reserved: options.reserved,
      ...(filter && { resources: bothOf(filter.resources, security?.resources) }),
      config,
      queues: {
        receiveq: { count: queuePairs, size: queueSize },
        transmitq: { count: queuePairs, size: queueSize },
        // Behind vhost-user some front ends make every queue as large as the others.
        controlq: { size: queueSize },
      },
      activate: (session) => port.begin(session),
      serve: { controlq: (chain) => port.serve(chain) },
      available: {
        receiveq: (queue) => port.buffersAvailable(queue),
        transmitq: (queue) => port.framesAvailable(queue),
      },
      writeConfig: (field, value) => port.configWritten(field, value),
      reset: () => port.reset(),
      resetQueue: (name, number) => port.resetQueue(name, number),
      save: () => port.save(),
      restore: (state) => port.restore(state),
    });
    this.#port = port;
    port.reset();
  }

  /** The driver's end of a link: connect it to whoever is to be at the other. */
  get endpoint(): Endpoint {
    return this.#port;
  }

  /** True while a driver runs the device. */
  get driven(): boolean {
    return this.#port.session !== undefined;
  }

  /** What each receive queue has done. */
  get received(): readonly Readonly<RxCounters>[] {
    return this.#port.receiver.counters;
  }

  /** What each transmit queue has done. */
  get sent(): readonly Readonly<TxCounters>[] {
    return this.#port.transmitter.counters;
  }

  /**
   * Asks the driver to make itself known on the network: it may be at another place now. False when it does not do that,
   * or there is none.
   */
  announce(): boolean {
    return this.#port.announce();
  }

  /**
   * Changes the speed that the driver is told of, in units of 1 MBit per second.
   *
   * @throws {UsageError} NOT_NEGOTIATED when it was made without one, BAD_STATE while the link is up.
   * @spec 5.1.4.1 device: Device Types / Network Device / Device configuration layout
   */
  setSpeed(speed: number, duplex: 'full' | 'half' = 'full'): void {
    if (this.behaviour.offers?.includes('SPEED_DUPLEX') !== true) {
      throw new UsageError('NOT_NEGOTIATED', 'net: give the device a speed when it is made');
    }
    whole('speed', speed, 0, 0x7fff_ffff);
    if ((this.config.status & netStatus.LINK_UP) !== 0) {
      throw new UsageError('BAD_STATE', 'net: the speed cannot change while the link is up');
    }
    this.updateConfig({ speed, duplex: duplexValue(duplex) });
  }
}

/**
 * Makes a network device. What the other end of its link does not take unfinished, the link finishes: the device offers
 * every offload to its driver.
 *
 * @example
 * const card = netDevice({ mac: '52:54:00:12:34:56' });
 * connect(card.endpoint, network.endpoint);
 *
 * @throws {UsageError} BAD_ARGUMENT for options that cannot be.
 */
export function netDevice(options: NetOptions = {}): NetDevice {
  return new NetDevice(options);
}

/** What both add to the administration commands. */
const bothOf = (one: DeviceResources, other: DeviceResources | undefined): DeviceResources =>
  other === undefined
    ? one
    : {
        capabilities: [...one.capabilities, ...other.capabilities],
        objects: [...one.objects, ...other.objects],
      };

/** The configuration of the device that a port is of. */
interface ConfigAccess {
  get(): NetConfig;
  update(values: Partial<NetConfig>): void;
}

const isTransmit = ({ index }: ActiveQueue): boolean => index % 2 === 1;

/** Between the queues of the driver and the link. */
class Port implements Endpoint, NetControls, Moderation {
  takes: TakenOffloads = noOffloads;
  pairs = 1;
  session: NetSession | undefined;
  readonly receiver: Receiver;
  readonly transmitter: Transmitter;
  readonly filter = new ReceiveFilter();
  readonly controlCounters = new ControlCounters();
  readonly #mac: Uint8Array;
  readonly #config: ConfigAccess;
  readonly #classes: ControlTable;
  readonly #coalescing: Coalescing | undefined;
  readonly #filter: FrameFilter | undefined;
  readonly #security: FrameSecurity | undefined;
  readonly #filtered: Steering | undefined;
  #steering: Steering = firstQueue;
  #link: Link | undefined;
  /** The configuration field of this name; while the device is suspended it is not there yet. */
  #status = 0;
  /** This, for drivers that want notifications of what they sent counted or held back. */
  #moderation: Moderation | undefined;
  /** Tells drivers of the frames that they were given. */
  readonly #arrivals = new Arrivals();
  /** What another device has saved, until a driver goes on here. */
  #saved: Json | undefined;
  /** Bytes of the largest frame that is not to be cut; the tag of a VLAN comes on top. */
  #largest = Number.POSITIVE_INFINITY;

  constructor(
    { mac, queuePairs, rssContexts }: NetOffer,
    filter: FrameFilter | undefined,
    security: FrameSecurity | undefined,
    timer: NetTimer | undefined,
    config: ConfigAccess,
  ) {
    this.#mac = mac;
    this.#config = config;
    this.receiver = new Receiver(queuePairs, this);
    this.transmitter = new Transmitter(queuePairs, this, security);
    this.#filter = filter;
    this.#security = security;
    this.#filtered =
      filter &&
      new FilteredSteering(
        filter,
        () => this.#steering,
        () => (this.session?.has('IPSEC') === true ? security : undefined),
      );
    this.#coalescing = timer && new Coalescing(queuePairs, timer);
    const hashing = new Hashing();
    const contexts = new RssContexts(rssContexts);
    const source = {
      received: this.receiver.counters,
      sent: this.transmitter.counters,
      control: this.controlCounters,
    };
    this.#classes = {
      [controlClass.RX]: rxClass(this.filter),
      [controlClass.MAC]: macClass(this.filter, this),
      [controlClass.VLAN]: vlanClass(this.filter),
      [controlClass.ANNOUNCE]: announceClass(this),
      [controlClass.MQ]: mqClass(this, hashing, contexts),
      [controlClass.GUEST_OFFLOADS]: guestOffloadsClass(this),
      ...(this.#coalescing && { [controlClass.NOTF_COAL]: coalescingClass(this.#coalescing) }),
      [controlClass.HASH_TUNNEL]: hashTunnelClass(this, hashing),
      [controlClass.STATS]: statisticsClass(this, source),
      [controlClass.RSS_CTX]: rssContextClass(this, contexts),
    };
  }

  get steering(): Steering {
    return this.#filter?.active === true ? (this.#filtered ?? this.#steering) : this.#steering;
  }

  set steering(steering: Steering) {
    this.#steering = steering;
  }

  get config(): NetConfig {
    return this.#config.get();
  }

  updateConfig(values: Partial<NetConfig>): void {
    this.#config.update(values);
  }

  attached(link: Link): void {
    this.#link = link;
    this.transmitter.attached(link);
    this.carrier(link.up);
  }

  carrier(up: boolean): void {
    this.setStatus(netStatus.LINK_UP, up);
    // What waited for room is lost while the link is cut.
    this.transmitter.room();
  }

  setStatus(bit: number, on: boolean): void {
    const status = on ? this.#status | bit : this.#status & ~bit;
    if (status === this.#status) return;
    this.#status = status;
    this.updateConfig({ status });
  }

  room(): void {
    this.transmitter.room();
  }

  /**
   * Takes a frame from the link; one that the driver does not want, or that no driver is there for, is lost.
   *
   * @spec 5.1.4.1 device: Device Types / Network Device / Device configuration layout
   */
  receive(frame: Uint8Array, offload: Offload): boolean {
    if (this.session === undefined || frame.length < ethernetHeader) return true;
    if (frame.length > this.#largest && offload.segmentation === segmentation.NONE && !this.#fits(frame)) {
      return true;
    }
    return !this.filter.accepts(frame) || this.receiver.receive(frame, offload);
  }

  /** Of frames that follow each other at once the driver is told together. */
  more(follow: boolean): void {
    this.#arrivals.more(follow);
  }

  begin(session: NetSession): void {
    this.session = session;
    const { has } = session;
    const isModerated = has('DEVICE_STATS') || has('NOTF_COAL') || has('VQ_NOTF_COAL');
    this.#moderation = isModerated ? this : undefined;
    this.#largest = session.has('MTU') ? this.config.mtu + ethernetHeader : Number.POSITIVE_INFINITY;
    this.receiver.begin(session);
    this.transmitter.begin(session);
    for (const known of Object.values(this.#classes)) known.begin?.(session);
    if (this.#saved !== undefined) this.#restoreClasses(this.#saved, session);
    this.#saved = undefined;
  }

  serve(chain: Parameters<typeof serveControl>[0]): void {
    if (this.session !== undefined) serveControl(chain, this.#classes, this.session, this.controlCounters);
  }

  buffersAvailable(queue: ActiveQueue): void {
    queue.moderation = this;
    if (this.receiver.available(queue)) this.#link?.room();
  }

  framesAvailable(queue: ActiveQueue): void {
    queue.moderation = this.#moderation;
    this.transmitter.available(queue);
  }

  due(queue: ActiveQueue, buffers: number): boolean {
    if (this.#coalescing?.due(queue, buffers) === false) return false;
    return isTransmit(queue) || this.#arrivals.due(queue, buffers);
  }

  notified(queue: ActiveQueue): void {
    const { counters } = isTransmit(queue) ? this.transmitter : this.receiver;
    const counted = counters[queue.number];
    if (counted !== undefined) counted.interrupts++;
  }

  /** A legacy driver changed its address. */
  configWritten(field: string, value: unknown): void {
    if (field === 'mac' && value instanceof Uint8Array) this.filter.mac.set(value);
  }

  announce(): boolean {
    const { session } = this;
    // Without a control queue the driver could not say that it has heard of it.
    const hears = session?.has('GUEST_ANNOUNCE') === true && session.has('STATUS') && session.has('CTRL_VQ');
    if (!hears) return false;
    this.setStatus(netStatus.ANNOUNCE, true);
    return true;
  }

  reset(): void {
    this.session = undefined;
    this.#moderation = undefined;
    this.#arrivals.reset();
    this.#saved = undefined;
    this.takes = noOffloads;
    this.#largest = Number.POSITIVE_INFINITY;
    this.filter.reset(this.#mac);
    for (const known of Object.values(this.#classes)) known.reset?.();
    this.transmitter.reset();
    this.#restoreConfig();
    // Whoever waits to give us a frame may go on: it is lost.
    if (this.receiver.reset()) this.#link?.room();
  }

  resetQueue(name: string, number: number): void {
    if (name !== 'controlq') this.#coalescing?.resetQueue(2 * number + (name === 'transmitq' ? 1 : 0));
    if (name === 'transmitq') this.transmitter.resetQueue(number);
    if (name === 'receiveq' && this.receiver.resetQueue(number)) this.#link?.room();
  }

  save(): Json {
    if (this.#saved !== undefined) return this.#saved;
    const saved: Record<string, Json> = this.#security === undefined ? {} : { ipsec: this.#security.save() };
    for (const [number, known] of Object.entries(this.#classes)) {
      if (known.save !== undefined) saved[number] = known.save();
    }
    return saved;
  }

  /** @throws {UsageError} BAD_STATE for what `save` never gives. */
  restore(state: Json): void {
    if (typeof state !== 'object' || state === null || Array.isArray(state)) {
      throw new UsageError('BAD_STATE', 'this is not the saved state of a network device');
    }
    this.#saved = state;
    const secured: Json | undefined = Object.entries(state).find(([key]) => key === 'ipsec')?.[1];
    if (secured !== undefined) this.#security?.restore(secured);
    this.#status = this.config.status;
    // The configuration is the one that was saved; the link is this device's.
    this.carrier(this.#link?.up === true);
  }

  #restoreClasses(saved: Json, session: NetSession): void {
    if (typeof saved !== 'object' || saved === null || Array.isArray(saved)) return;
    for (const [number, known] of Object.entries(this.#classes)) {
      const state: Json | undefined = Object.entries(saved).find(([key]) => key === number)?.[1];
      if (state !== undefined) known.restore?.(state, session);
    }
  }

  /** What a driver has changed in the configuration is as it was. */
  #restoreConfig(): void {
    if (this.config.mac.some((byte, i) => byte !== this.#mac[i])) this.updateConfig({ mac: this.#mac });
    this.setStatus(netStatus.ANNOUNCE, false);
  }

  /** The tag of a VLAN is no part of the packet. */
  #fits(frame: Uint8Array): boolean {
    const isTagged = frame[12] === 0x81 && frame[13] === 0;
    return isTagged && frame.length <= this.#largest + taggedEthernetHeader - ethernetHeader;
  }
}
