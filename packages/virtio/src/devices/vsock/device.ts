import type { ActiveQueue } from '../../device/active-queue.ts';
import { type ActiveDevice, Device } from '../../device/device.ts';
import { HostError, PeerError, UsageError } from '../../errors.ts';
import type { OwnFeatureNameOf } from '../../spec/device-type.ts';
import type { ReservedFeatureName } from '../../spec/features.ts';
import { asVsockState } from './saved.ts';
import { hostCid, isGuestCid, socketTypes, virtio_vsock_event, vsock, vsockEvent } from './spec.ts';
import {
  Endpoint,
  type EndpointOptions,
  type VsockListener,
  type VsockRequest,
  type VsockSource,
} from './spec-endpoint.ts';
import { headerLength, Packet } from './spec-packet.ts';
import { ask, type SeqpacketHandler, Sockets, type StreamHandler } from './spec-sockets.ts';
import type { VsockSeqpacket, VsockStream } from './spec-stream.ts';

/** How a socket device is made. */
export interface VsockOptions extends EndpointOptions {
  /** The guest's context ID: 3 to 2^32 − 2. */
  readonly guestCid: number;
  /**
   * Decides on a request for a port at which nobody listens: accepts or refuses it, at once or later. Such requests are
   * refused unless it is there, and when it throws or its promise rejects.
   */
  readonly onRequest?: (request: VsockRequest) => unknown;
  /** What the device offers; everything, unless told. */
  readonly offers?: readonly OwnFeatureNameOf<typeof vsock>[];
  readonly reserved?: readonly ReservedFeatureName[] | undefined;
}

const everything = ['STREAM', 'SEQPACKET', 'NO_IMPLIED_STREAM'] as const;

/** Chains of the tx queue that are taken before others have their turn. */
const mostAtOnce = 256;

/** A socket device: its host's end of all connections with one guest. */
export class VsockDevice extends Device<typeof vsock> {
  readonly #host: Host;

  /** @internal Use {@link vsockDevice}. */
  constructor(options: VsockOptions) {
    const { guestCid, offers = everything } = options;
    checkCid(guestCid);
    const host = new Host(options);

    super(vsock, {
      offers,
      reserved: options.reserved,
      config: { guest_cid: BigInt(guestCid) },
      activate: (active) => host.activate(active),
      available: {
        rx: () => host.send(),
        tx: (queue) => host.receive(queue),
        event: () => host.sendEvent(),
      },
      reset: () => host.forgetDriver(),
      save: () => ({ driven: host.driven }),
      restore: (state) => {
        host.interrupted = asVsockState(state).driven;
        // The configuration is the one that was saved; the CID is this device's.
        this.updateConfig({ guest_cid: BigInt(host.guestCid) });
      },
    });
    this.#host = host;
    this.onRequest = options.onRequest;
  }

  /** Decides on requests for ports at which nobody listens, as the option of this name says; it can be set later. */
  set onRequest(handler: ((request: VsockRequest) => unknown) | undefined) {
    this.#host.endpoint.onRequest = handler && ((request) => ask(handler, request));
  }

  /**
   * Decides on requests for the CIDs of other guests, as `onRequest` does on those for the host's. A {@link VsockSwitch}
   * sets it.
   */
  set onSiblingRequest(handler: ((request: VsockRequest) => unknown) | undefined) {
    this.#host.endpoint.onSiblingRequest = handler && ((request) => ask(handler, request));
  }

  /** The guest's context ID. */
  get guestCid(): number {
    return this.#host.guestCid;
  }

  /** True while a driver runs the device: only then can somebody be connected to. */
  get driven(): boolean {
    return this.#host.driven;
  }

  /**
   * Connects to a port of the guest's.
   *
   * @param source a socket of another guest, which this guest is to see as its peer; one of the host's unless told
   * @throws {HostError} CONNECTION_REFUSED when nobody listens there; DEVICE_GONE when no driver runs the device, or
   *   its guest restarts.
   * @throws {UsageError} QUEUE_FULL, NOT_NEGOTIATED, BAD_ARGUMENT.
   */
  connect(port: number, source?: VsockSource): Promise<VsockStream> {
    return this.#host.sockets.connect(this.guestCid, port, source);
  }

  /** As `connect`, between seqpacket sockets. */
  connectSeqpacket(port: number, source?: VsockSource): Promise<VsockSeqpacket> {
    return this.#host.sockets.connectSeqpacket(this.guestCid, port, source);
  }

  /**
   * Takes the guest's connections to a port of the host's.
   *
   * @throws {UsageError} BAD_ARGUMENT when somebody listens there already.
   */
  listen(port: number, handler: StreamHandler): VsockListener {
    return this.#host.sockets.listen(port, handler);
  }

  /** As `listen`, between seqpacket sockets. */
  listenSeqpacket(port: number, handler: SeqpacketHandler): VsockListener {
    return this.#host.sockets.listenSeqpacket(port, handler);
  }

  /**
   * Tells the guest that communication was interrupted: all connections are gone, and its CID may be another from now
   * on. Who listens goes on to listen.
   *
   * @throws {UsageError} BAD_ARGUMENT for a CID that is reserved.
   */
  transportReset(guestCid: number = this.guestCid): void {
    checkCid(guestCid);
    this.#host.guestCid = guestCid;
    this.updateConfig({ guest_cid: BigInt(guestCid) });
    this.#host.interrupt();
  }
}

/**
 * Makes a socket device.
 *
 * @example
 * const sockets = vsockDevice({ guestCid: 3 });
 * sockets.listen(1024, async (stream) => {
 *   for await (const bytes of stream) await stream.write(bytes);
 *   stream.end();
 * });
 * const shell = await sockets.connect(22);
 *
 * @throws {UsageError} BAD_ARGUMENT for a CID that is reserved, or limits that cannot be.
 * @spec 5.10.3.2 device: Device Types / Socket Device / Feature bits
 */
export function vsockDevice(options: VsockOptions): VsockDevice {
  return new VsockDevice(options);
}

/** Between the queues of the driver and the host's connections. */
class Host {
  guestCid: number;
  /** The driver is to hear that communication was interrupted. */
  interrupted = false;
  readonly endpoint: Endpoint;
  readonly sockets: Sockets;
  readonly #packet = new Packet();
  #active: ActiveDevice<typeof vsock> | undefined;
  /** While packets are taken, what they ask for waits until all are. */
  #receiving = false;

  constructor(options: VsockOptions) {
    this.guestCid = options.guestCid;
    this.endpoint = new Endpoint(hostCid, options, () => this.send());
    this.sockets = new Sockets(this.endpoint);
  }

  get driven(): boolean {
    return this.#active !== undefined;
  }

  activate(active: ActiveDevice<typeof vsock>): void {
    this.#active = active;
    this.endpoint.begin(socketTypes((feature) => active.has(feature)));
  }

  forgetDriver(): void {
    this.#active = undefined;
    this.interrupted = false;
    this.endpoint.stop(new HostError('DEVICE_GONE', 'the guest has reset its socket device'));
  }

  interrupt(): void {
    this.endpoint.loseAll(new HostError('CONNECTION_RESET', 'communication with the guest was interrupted'));
    this.interrupted = this.driven;
    this.sendEvent();
  }

  sendEvent(): void {
    const queue = this.#active?.queue('event');
    queue?.batch(() => {
      if (!this.interrupted) return;
      const chain = queue.take();
      if (chain === undefined) return;
      if (chain.readable.length > 0) throw misdirected(queue, 'readable');
      chain.writable.struct(virtio_vsock_event, { id: vsockEvent.TRANSPORT_RESET });
      queue.complete(chain);
      this.interrupted = false;
    });
  }

  /** Sends what is to be sent, as far as the driver has given buffers; then there may be room to take packets again. */
  send(): void {
    if (this.#receiving) return;
    const queue = this.#active?.queue('rx');
    if (queue === undefined) return;
    const stuck = !this.endpoint.mayReceive;
    queue.batch(() => this.#fill(queue));
    if (stuck && this.endpoint.mayReceive) this.#active?.queue('tx')?.processLater();
  }

  /**
   * Takes the driver's packets, whether or not it has given buffers for the answers, while there is room for those.
   *
   * @spec 5.10.6.1.2 device: Device Types / Socket Device / Device Operation / Virtqueue Flow Control
   */
  receive(queue: ActiveQueue): void {
    this.#receiving = true;
    let taken = 0;
    try {
      for (; taken < mostAtOnce && this.endpoint.mayReceive; taken++) {
        const chain = queue.take();
        if (chain === undefined) break;
        const { readable } = chain;
        if (chain.writable.length > 0) throw misdirected(queue, 'writable');
        if (readable.readInto(this.#packet.header) < headerLength) throw tooShort(queue, readable.length);
        this.#packet.decode();
        // Whoever gives another source is not the guest.
        if (this.#packet.srcCid === this.guestCid) this.endpoint.receive(this.#packet, readable);
        queue.complete(chain);
      }
    } finally {
      this.#receiving = false;
      this.send();
    }
    if (taken === mostAtOnce) queue.processLater();
  }

  #fill(queue: ActiveQueue): void {
    while (this.endpoint.hasNext) {
      const chain = queue.take();
      if (chain === undefined) return;
      const { writable } = chain;
      if (chain.readable.length > 0) throw misdirected(queue, 'readable');
      if (writable.length < headerLength) throw tooShort(queue, writable.length);
      const packet = this.#packet;
      this.endpoint.next(packet, writable.length - headerLength);
      packet.encode();
      writable.write(packet.header);
      writable.write(packet.payload);
      queue.complete(chain);
    }
  }
}

function checkCid(cid: number): void {
  if (isGuestCid(cid)) return;
  throw new UsageError('BAD_ARGUMENT', `${cid} is reserved, or no CID: give a guest 3 to 4294967294`);
}

const misdirected = ({ label }: ActiveQueue, direction: 'readable' | 'writable'): PeerError =>
  new PeerError('BAD_REQUEST', `a device-${direction} buffer was put in ${label}`);

const tooShort = ({ label }: ActiveQueue, length: number): PeerError =>
  new PeerError('BAD_REQUEST', `a buffer of ${length} bytes in ${label}, where a header has ${headerLength}`);
