import { open } from '../../driver/open.ts';
import type { OpenDevice } from '../../driver/open-device.ts';
import type { OpenOptions } from '../../driver/options.ts';
import type { Transport } from '../../driver/transport.ts';
import { HostError, PeerError, UsageError } from '../../errors.ts';
import type { Endpoint, Link } from '../../link/endpoint.ts';
import { isMulticast, macAddress, randomMac } from '../../link/mac.ts';
import { ethernetHeader } from '../../link/numbers.ts';
import {
  copyOffload,
  finished,
  noOffloads,
  type Offload,
  segmentation,
  type TakenOffloads,
} from '../../link/offload.ts';
import { type GuestOffload, NetCommands } from './driver-control.ts';
import { DriverReceiver, type FrameSink } from './driver-receiver.ts';
import { DriverTransmitter } from './driver-transmitter.ts';
import {
  defaultMtu,
  duplexMode,
  largestFrame,
  type NetConfig,
  type NetFeature,
  net,
  netClauses,
  netStatus,
  taggedEthernetHeader,
  virtqueuePairs,
} from './spec.ts';
import { negotiatedOffloads } from './spec-control.ts';
import { flowOf } from './spec-flow.ts';
import { netResource } from './spec-flow-filter.ts';
import { FrameHeader, type HeaderRules, headersOf } from './spec-frame-header.ts';
import type { FrameSealing } from './spec-frame-sealing.ts';
import { hashReport } from './spec-hash.ts';
import { headerFlag, headerLength } from './spec-header.ts';
import { hostOffloads, takenOf, takesLarge } from './spec-offload.ts';

/** How a driver wants its network device. */
export interface OpenNetOptions
  extends Pick<OpenOptions<typeof net>, 'reserved' | 'indirectPolicy' | 'onFailure'> {
  /** Of the device's own features, those to accept; {@link driverFeatures} unless told. */
  readonly features?: OpenOptions<typeof net>['features'];
  /** The driver's address where the device gives none; one that is nobody's unless told. */
  readonly mac?: string | Uint8Array;
  /** Pairs of queues to use, where the device has so many; 1 unless told. */
  readonly queuePairs?: number;
  /** The link went up or down. */
  readonly onLinkChange?: (up: boolean) => void;
  /**
   * The driver is to make itself known on the network: this sends what its protocols have for that. Without it a frame of
   * RARP is sent, by which switches learn where the driver is.
   */
  readonly onAnnounce?: () => void | Promise<void>;
  /** A frame was dropped, since its header tells what cannot be: as in "a frame …". */
  readonly onDropped?: (mistake: string) => void;
}

/** A frame that was received. */
export interface ReceivedFrame {
  readonly frame: Uint8Array;
  readonly offload: Offload;
  /** With HASH_REPORT, of a frame that has one: its hash, and over what it is, one of `hashReport`. */
  readonly hash?: { readonly value: number; readonly report: number };
  /** With IPSEC, of a frame that went through it. */
  readonly security?: {
    /** It came as it was: it is not authentic, was seen before, or is of no association that there is or that is still good. */
    readonly failed: boolean;
    /** The association is to be renewed. */
    readonly softExpired: boolean;
    /** The id of the inbound association; `undefined` when there is none. */
    readonly association: number | undefined;
  };
}

/** What the driver accepts only when it is told to. */
const notByItself: readonly NetFeature[] = ['HASH_REPORT', 'RSC_EXT', 'OUT_NET_HEADER', 'IPSEC'];

/** What the driver accepts unless told. */
export const driverFeatures: readonly NetFeature[] = net.ownFeatures.filter(
  (feature) => !notByItself.includes(feature),
);

/** Descriptors in each queue. */
const queueSize = 256;

/** Buffers of a receive queue, and bytes in all of them; at least so many bytes in each over which frames are spread. */
const mostBuffers = 64;
const bufferBytes = 2 ** 18;
const mergeableLength = 2048;

/** A network device that is open: frames in and out, and commands. */
export class OpenNet extends NetCommands {
  /** Both directions as an end of a link: connect it to a switch, a network, another device. */
  readonly endpoint: Endpoint;
  readonly #device: OpenDevice<typeof net>;
  readonly #options: OpenNetOptions;
  readonly #pairs: number;
  readonly #receivers: readonly DriverReceiver[];
  readonly #transmitters: readonly DriverTransmitter[];
  /** What the device takes unfinished, and what the driver does. */
  readonly #deviceTakes: TakenOffloads;
  #rules: HeaderRules;
  #usedPairs = 1;
  #mac: Uint8Array;
  #linkUp: boolean;
  #link: Link | undefined;
  /** Those who wait for a frame, and for room to send one. */
  readonly #readers: { resolve(frame: ReceivedFrame | undefined): void; reject(error: Error): void }[] = [];
  readonly #senders: { resolve(): void; reject(error: Error): void }[] = [];
  #ended: Error | undefined;
  #refreshing: Promise<void> | undefined;
  #changed = false;

  /** @internal Use {@link openNet}. */
  constructor(device: OpenDevice<typeof net>, options: OpenNetOptions, pairs: number) {
    super(device);
    const has = (feature: NetFeature): boolean => device.has(feature);
    this.#device = device;
    this.#options = options;
    this.#pairs = pairs;
    this.#deviceTakes = hostOffloads(has);
    this.#rules = {
      allowed: takenOf(negotiatedOffloads(has)),
      // The device's word is a hint, and no more.
      exactLength: false,
      fromDevice: true,
      coalesced: device.has('RSC_EXT'),
    };
    this.#mac = ownMac(device, options);
    this.#linkUp = isUp(device);
    const length = headerLength(has, device.transport.legacy !== undefined);
    const header = (): FrameHeader => new FrameHeader(length, device.endian);
    const largest = (device.has('MTU') ? (device.config.mtu ?? 0) : defaultMtu) + taggedEthernetHeader;
    const numbers = Array.from({ length: pairs }, (_, number) => number);
    const large = takesLarge(this.#rules.allowed);
    const mergeable = device.has('MRG_RXBUF');
    const buffers = buffersOf(length + (large ? largestFrame : largest), mergeable);
    const sink: FrameSink = {
      deliver: (frame, header) => this.#deliver(frame, header),
      dropped: (mistake) => options.onDropped?.(mistake),
      fail: (error) => device.fail(error),
    };
    this.#receivers = numbers.map(
      (number) =>
        new DriverReceiver(
          device.queue('receiveq', number),
          {
            header: header(),
            rules: () => this.#rules,
            ...buffers(device.queue('receiveq', number).size),
            mergeable,
            largest: largestFrame,
          },
          sink,
        ),
    );
    const mayBeLarge = takesLarge(this.#deviceTakes);
    const rules = {
      largest,
      largestOfAll: mayBeLarge ? largestFrame : largest,
      secures: device.has('IPSEC'),
    };
    this.#transmitters = numbers.map(
      (number) =>
        new DriverTransmitter(device.queue('transmitq', number), { ...rules, header: header() }, () =>
          this.#roomToSend(),
        ),
    );
    this.endpoint = this.#makeEndpoint();
  }

  /** The device as `open` gives it: for its administration. */
  get device(): OpenDevice<typeof net> {
    return this.#device;
  }

  /** True when the feature was negotiated. */
  has(feature: Parameters<OpenDevice<typeof net>['has']>[0]): boolean {
    return this.#device.has(feature);
  }

  /** The configuration as it was read last. */
  get config(): Partial<NetConfig> {
    return this.#device.config;
  }

  /** The driver's own address. */
  get mac(): Uint8Array {
    return this.#mac;
  }

  /** Bytes of the largest packet behind its Ethernet header. */
  get mtu(): number {
    return this.has('MTU') ? (this.#device.config.mtu ?? defaultMtu) : defaultMtu;
  }

  /** False while the device says that its link is down. */
  get linkUp(): boolean {
    return this.#linkUp;
  }

  /**
   * Units of 1 MBit per second; `undefined` when it is not known.
   *
   * @spec 5.1.4.2 driver: Device Types / Network Device / Device configuration layout
   */
  get speed(): number | undefined {
    const speed = this.has('SPEED_DUPLEX') ? this.#device.config.speed : undefined;
    return speed !== undefined && speed <= 0x7fff_ffff ? speed : undefined;
  }

  /** `undefined` when it is not known. */
  get duplex(): 'full' | 'half' | undefined {
    const duplex = this.has('SPEED_DUPLEX') ? this.#device.config.duplex : undefined;
    if (duplex === duplexMode.FULL) return 'full';
    return duplex === duplexMode.HALF ? 'half' : undefined;
  }

  /** Pairs of queues that are set up, of which `setQueuePairs` can have some used. */
  get queuePairs(): number {
    return this.#pairs;
  }

  /** What the device takes unfinished. */
  get deviceTakes(): TakenOffloads {
    return this.#deviceTakes;
  }

  /**
   * Sends a frame; settles when the device has it, which is at once where there is room.
   *
   * @param offload what is left to do to it, of what the device takes; nothing unless told
   * @param sealing the association to encrypt it with, of `openIpsec`; it goes as it is unless told
   * @throws {UsageError} BAD_ARGUMENT for a frame that is too large or too short, or asks for what was not negotiated.
   * @throws {HostError} DEVICE_GONE when the device is closed.
   */
  async send(frame: Uint8Array, offload: Offload = finished, sealing?: FrameSealing): Promise<void> {
    if (sealing !== undefined) this.need('IPSEC');
    const mistake =
      mistakeIn(frame, offload, this.#deviceTakes, this.mtu) ??
      (sealing && sealingMistake(frame, offload, sealing, this.mtu));
    if (mistake !== undefined) throw new UsageError('BAD_ARGUMENT', `net: a frame ${mistake}`);
    const kept = copyOffload(offload);
    while (!this.#transmit(frame, kept, sealing)) {
      await new Promise<void>((resolve, reject) => this.#senders.push({ resolve, reject }));
    }
  }

  /**
   * The next frame that comes, when no link is attached; frames wait in the device's buffers. `undefined` at the end.
   *
   * @throws what made the device fail.
   */
  receive(): Promise<ReceivedFrame | undefined> {
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
      if (this.#ended !== undefined) this.#end(this.#ended);
      else this.#drain();
    });
  }

  /** All frames that come, to the end. */
  async *[Symbol.asyncIterator](): AsyncGenerator<ReceivedFrame, void, undefined> {
    for (let next = await this.receive(); next !== undefined; next = await this.receive()) yield next;
  }

  override async setMac(given: string | Uint8Array): Promise<Uint8Array> {
    this.#mac = await super.setMac(given);
    return this.#mac;
  }

  override async setOffloads(wanted: readonly GuestOffload[]): Promise<bigint> {
    const offloads = await super.setOffloads(wanted);
    this.#rules = { ...this.#rules, allowed: takenOf(offloads) };
    return offloads;
  }

  /**
   * Uses so many pairs of queues from now on.
   *
   * @throws {UsageError} BAD_ARGUMENT for more than are set up.
   */
  async setQueuePairs(pairs: number): Promise<void> {
    if (!Number.isInteger(pairs) || pairs < 1 || pairs > this.#pairs) {
      throw new UsageError('BAD_ARGUMENT', `net: ${pairs} pairs of queues, where ${this.#pairs} are set up`);
    }
    // No frame may be queued on what the device is about to use no more.
    this.#usedPairs = Math.min(this.#usedPairs, pairs);
    await this.setPairs(pairs);
    this.#usedPairs = pairs;
  }

  /** Suspends the device, until `resume`. */
  suspend(): Promise<void> {
    return this.#device.suspend();
  }

  resume(): Promise<void> {
    return this.#device.resume();
  }

  /** Resets the device and lets go of it. */
  async close(): Promise<void> {
    this.#end(gone());
    await this.#device.close();
  }

  /** @internal The queues are live. */
  async start(): Promise<void> {
    for (const receiver of this.#receivers) receiver.start();
    await this.#tellMac();
    if (this.#pairs > 1) await this.setQueuePairs(this.#pairs);
    // It may have changed since the configuration was read.
    this.configChanged();
  }

  /** @internal */
  failed(error: Error): void {
    this.#end(error);
    this.#options.onFailure?.(error);
  }

  /** @internal */
  configChanged(): void {
    this.#changed = true;
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
  }

  /**
   * The device hears of an address that it did not give.
   *
   * @spec 5.1.9.5.2.2 driver: Device Types / Network Device / Device Operation / Control Virtqueue / Setting MAC Address Filtering
   */
  async #tellMac(): Promise<void> {
    const { mac = this.#mac } = this.#device.config;
    if (mac.every((byte, i) => byte === this.#mac[i])) return;
    if (this.has('CTRL_MAC_ADDR') || this.has('CTRL_RX')) await this.setMac(this.#mac);
  }

  async #refresh(): Promise<void> {
    try {
      while (this.#changed && this.#ended === undefined) {
        this.#changed = false;
        await this.#device.refreshConfig();
        await this.#heed();
      }
    } catch (error) {
      if (this.#ended === undefined)
        this.#device.fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Acts on the configuration as it is now. */
  async #heed(): Promise<void> {
    const up = isUp(this.#device);
    if (up !== this.#linkUp) {
      this.#linkUp = up;
      this.#options.onLinkChange?.(up);
    }
    const { status = 0 } = this.#device.config;
    if (!this.has('GUEST_ANNOUNCE') || (status & netStatus.ANNOUNCE) === 0) return;
    if (this.#options.onAnnounce === undefined) this.#transmit(rarpOf(this.#mac), finished);
    else await this.#options.onAnnounce();
    await this.acknowledgeAnnounce();
  }

  /** False when there is no room. */
  #transmit(frame: Uint8Array, offload: Offload, sealing?: FrameSealing): boolean {
    if (this.#ended !== undefined) throw this.#ended;
    const used = this.#usedPairs;
    const number = used === 1 ? 0 : flowOf(frame) % used;
    return this.#transmitters[number]!.send(frame, offload, sealing);
  }

  #deliver(frame: Uint8Array, header: FrameHeader): boolean {
    const { offload } = header;
    const link = this.#link;
    if (link !== undefined) return !link.up || link.send(frame, offload);
    const reader = this.#readers.shift();
    if (reader === undefined) return false;
    const isHashed = this.has('HASH_REPORT') && header.hashReport !== hashReport.NONE;
    reader.resolve({
      frame: frame.slice(),
      offload: copyOffload({ ...offload }),
      ...(isHashed && { hash: { value: header.hash, report: header.hashReport } }),
      ...(this.has('IPSEC') && header.secured && { security: securityOf(header) }),
    });
    return true;
  }

  #drain(): void {
    for (const receiver of this.#receivers) receiver.drain();
  }

  #roomToSend(): void {
    this.#link?.room();
    for (const { resolve } of this.#senders.splice(0)) resolve();
  }

  #end(reason: Error): void {
    this.#ended ??= reason;
    const isClosed = this.#ended instanceof HostError && this.#ended.code === 'DEVICE_GONE';
    for (const { resolve, reject } of this.#readers.splice(0)) {
      if (isClosed) resolve(undefined);
      else reject(this.#ended);
    }
    for (const { reject } of this.#senders.splice(0)) reject(this.#ended);
    // Whoever waits for room waits for nothing: what it sends is lost from now on.
    this.#link?.room();
  }

  #makeEndpoint(): Endpoint {
    const opened = this;
    return {
      get takes() {
        return opened.#ended === undefined ? opened.#deviceTakes : noOffloads;
      },
      attached: (link) => this.#attached(link),
      receive: (frame, offload) => this.#fromLink(frame, offload),
      room: () => this.#drain(),
      // What waited for room is lost while the link is cut.
      carrier: () => this.#drain(),
    };
  }

  #attached(link: Link): void {
    this.#link = link;
    this.#drain();
    // Who stands behind this end has addresses that the device has never heard of.
    if (!this.has('CTRL_RX')) return;
    // A device that refuses does what it can; one that broke has failed by now.
    this.setMode('promiscuous', true).catch(() => {});
  }

  /** A frame that the device cannot take, or that comes when it is gone, is lost. */
  #fromLink(frame: Uint8Array, offload: Offload): boolean {
    if (this.#ended !== undefined) return true;
    const mistake = mistakeIn(frame, offload, this.#deviceTakes, this.mtu);
    if (mistake === undefined) return this.#transmit(frame, offload);
    this.#options.onDropped?.(mistake);
    return true;
  }
}

/**
 * Opens a network device.
 *
 * @example
 * const card = await openNet(transport);
 * await card.send(frame);
 * for await (const { frame } of card) handle(frame);
 *
 * @throws what `open` throws; {PeerError} LAYOUT_INVALID for a configuration that cannot be.
 * @spec 5.1.4.2 driver: Device Types / Network Device / Device configuration layout
 */
export async function openNet(transport: Transport, options: OpenNetOptions = {}): Promise<OpenNet> {
  let opened: OpenNet | undefined;
  let pairs = 1;
  const device = await open(transport, net, {
    ...options,
    features: options.features ?? driverFeatures,
    queueSize,
    queues: (negotiated) => {
      const { mtu = defaultMtu, max_virtqueue_pairs: most = 1 } = negotiated.config;
      if (negotiated.has('MTU') && mtu < 68) throw unsound(`an MTU of ${mtu}`);
      if (negotiated.has('MQ')) {
        if (most < virtqueuePairs.MIN || most > virtqueuePairs.MAX) throw unsound(`${most} pairs of queues`);
        pairs = Math.min(most, Math.max(1, options.queuePairs ?? 1));
      }
      return [
        ...Array.from({ length: pairs }, (_, number) => [
          { name: 'receiveq' as const, number },
          { name: 'transmitq' as const, number },
        ]).flat(),
        ...(negotiated.has('CTRL_VQ') ? [{ name: 'controlq' as const }] : []),
      ];
    },
    onConfigChange: () => opened?.configChanged(),
    onFailure: (error) => opened?.failed(error),
  });
  try {
    opened = new OpenNet(device, options, pairs);
    await opened.start();
    return opened;
  } catch (error) {
    // A device that cannot even be reset is no news.
    await device.abandon().catch(() => {});
    // What it did wrong says more than what could not be done after that.
    throw device.failure ?? error;
  }
}

/** How many buffers a queue of a size has, and the bytes of each; `needed` for the largest frame. */
const buffersOf =
  (needed: number, mergeable: boolean) =>
  (size: number): { buffers: number; bufferLength: number } => {
    const most = Math.min(mostBuffers, size);
    if (!mergeable) {
      const affordable = Math.max(4, Math.floor(bufferBytes / needed));
      return { buffers: Math.min(most, affordable), bufferLength: needed };
    }
    // All of them together hold the largest frame twice.
    return { buffers: most, bufferLength: Math.max(mergeableLength, Math.ceil((2 * needed) / most)) };
  };

/** The address that the device gives; one of our own otherwise. */
function ownMac(device: OpenDevice<typeof net>, { mac }: OpenNetOptions): Uint8Array {
  const given = device.has('MAC') ? device.config.mac : undefined;
  if (given !== undefined && !isMulticast(given)) return given;
  return mac === undefined ? randomMac() : macAddress(mac);
}

const isUp = (device: OpenDevice<typeof net>): boolean =>
  !device.has('STATUS') || ((device.config.status ?? 0) & netStatus.LINK_UP) !== 0;

/** What a device cannot be given, as in "a frame …". */
function mistakeIn(
  frame: Uint8Array,
  offload: Offload,
  takes: TakenOffloads,
  mtu: number,
): string | undefined {
  const { length } = frame;
  if (length < ethernetHeader) return 'is shorter than its Ethernet header';
  if (offload.needsChecksum && !takes.checksum)
    return 'has a checksum to be completed, which the device does not';
  if (offload.segmentation === segmentation.NONE) {
    const isTagged = frame[12] === 0x81 && frame[13] === 0;
    return length > mtu + (isTagged ? taggedEthernetHeader : ethernetHeader)
      ? 'is larger than the MTU'
      : undefined;
  }
  if (length > largestFrame) return 'is larger than any can be';
  if (!offload.needsChecksum || offload.segmentSize === 0) return 'is to be cut, and does not say how';
  return isTaken(offload, takes) ? undefined : 'is to be cut, which the device does not';
}

/** What cannot be encrypted: the frames on the wire are no larger than others (RFC 4301, 8.2). */
function sealingMistake(
  frame: Uint8Array,
  offload: Offload,
  sealing: FrameSealing,
  mtu: number,
): string | undefined {
  const isCut = offload.segmentation !== segmentation.NONE;
  const length = isCut
    ? Math.min(frame.length, headersOf(offload, frame) + offload.segmentSize)
    : frame.length;
  const gain = sealing.gain(frame, length);
  if (gain === undefined) return 'holds nothing that its association can encrypt';
  const isTagged = frame[12] === 0x81 && frame[13] === 0;
  return length + gain > mtu + (isTagged ? taggedEthernetHeader : ethernetHeader)
    ? 'is larger than the MTU when it is encrypted'
    : undefined;
}

function securityOf(header: FrameHeader): NonNullable<ReceivedFrame['security']> {
  const { flags, resource, resourceType } = header;
  return {
    failed: (flags & headerFlag.SECURITY_ERR) !== 0,
    softExpired: (flags & headerFlag.SECURITY_SA_SOFT_EXPIRY_WARN) !== 0,
    association: resourceType === netResource.IPSEC_INB_SA ? resource : undefined,
  };
}

function isTaken({ segmentation: kind, ecn, tunnel }: Offload, takes: TakenOffloads): boolean {
  if (ecn && !takes.ecn) return false;
  if (tunnel !== undefined && !(tunnel.outerChecksum ? takes.tunnelChecksum : takes.tunnel)) return false;
  if (kind === segmentation.TCP4) return takes.tcp4;
  if (kind === segmentation.TCP6) return takes.tcp6;
  return kind === segmentation.UDP_FRAGMENTS ? takes.udpFragments : takes.udp4;
}

/** A frame to all, from which switches learn where an address is: a request of RARP for one's own. */
function rarpOf(mac: Uint8Array): Uint8Array {
  const frame = new Uint8Array(60);
  frame.fill(0xff, 0, 6);
  frame.set(mac, 6);
  // RARP; Ethernet, IPv4, their lengths; the request.
  frame.set([0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3], 12);
  frame.set(mac, 22);
  frame.set(mac, 32);
  return frame;
}

const gone = (): HostError => new HostError('DEVICE_GONE', 'the network device was closed');

const unsound = (what: string): PeerError =>
  new PeerError('LAYOUT_INVALID', `the network device has ${what}`, netClauses.config);
