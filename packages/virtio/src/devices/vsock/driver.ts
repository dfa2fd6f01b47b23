import { open } from '../../driver/open.ts';
import type { OpenDevice } from '../../driver/open-device.ts';
import type { OpenOptions } from '../../driver/options.ts';
import type { OpenQueue } from '../../driver/queue.ts';
import type { Transport } from '../../driver/transport.ts';
import { HostError, PeerError } from '../../errors.ts';
import {
  hostCid,
  isGuestCid,
  socketTypes,
  virtio_vsock_event,
  vsock,
  vsockClauses,
  vsockEvent,
} from './spec.ts';
import type { PayloadSource } from './spec-connection.ts';
import { Endpoint, type EndpointOptions, type VsockListener, type VsockRequest } from './spec-endpoint.ts';
import { headerLength, Packet } from './spec-packet.ts';
import { ask, type SeqpacketHandler, Sockets, type StreamHandler } from './spec-sockets.ts';
import type { VsockSeqpacket, VsockStream } from './spec-stream.ts';

/** How a driver wants its socket device. */
export interface OpenVsockOptions
  extends EndpointOptions,
    Pick<OpenOptions<typeof vsock>, 'reserved' | 'indirectPolicy' | 'onFailure'> {
  /** Of the device's own features, those to accept; all, unless told. */
  readonly features?: OpenOptions<typeof vsock>['features'];
  /** Decides on a request for a port at which nobody listens. */
  readonly onRequest?: (request: VsockRequest) => unknown;
  /** Communication was interrupted: connections are gone, and the CID is this from now on. */
  readonly onTransportReset?: (cid: number) => void;
}

/** Descriptors in each queue. */
const queueSize = 64;

/** Buffers of the rx queue, packets that can be in the tx queue, and the bytes of payload in each. */
const bufferCount = 16;
const payloadLength = 16_384;
const bufferLength = headerLength + payloadLength;

/** Buffers of the event queue: more than one, so that none is missed while another is looked at. */
const eventBuffers = 4;

/** A socket device that is open: the guest's end of all its connections. */
export class OpenVsock {
  readonly #device: OpenDevice<typeof vsock>;
  readonly #options: OpenVsockOptions;
  readonly #endpoint: Endpoint;
  readonly #sockets: Sockets;
  readonly #outgoing = new Packet();
  readonly #incoming = new Packet();
  readonly #rx: OpenQueue;
  readonly #tx: OpenQueue;
  /** Where packets can be put that go out. */
  readonly #free: number[] = [];
  /** Filled buffers that wait, since what they ask for cannot be sent. */
  readonly #held: { readonly address: number; readonly length: number }[] = [];
  /** The CID is being read again; nothing is sent or taken until it is known. */
  #interrupted: Promise<void> | undefined;
  /** While packets are taken, what they ask for waits until all are: a device may answer within a kick. */
  #receiving = false;

  /** @internal Use {@link openVsock}. */
  constructor(device: OpenDevice<typeof vsock>, options: OpenVsockOptions) {
    this.#device = device;
    this.#options = options;
    this.#endpoint = new Endpoint(cidOf(device), options, () => this.#send());
    this.#endpoint.begin(socketTypes((feature) => device.has(feature)));
    const { onRequest } = options;
    if (onRequest !== undefined) this.#endpoint.onRequest = (request) => ask(onRequest, request);
    this.#sockets = new Sockets(this.#endpoint);
    this.#rx = device.queue('rx');
    this.#tx = device.queue('tx');
  }

  /** This guest's context ID. */
  get cid(): number {
    return this.#endpoint.localCid;
  }

  /**
   * Connects to a port of the host's, or of whoever has the CID.
   *
   * @throws {HostError} CONNECTION_REFUSED when nobody listens there; DEVICE_GONE when the device is closed.
   * @throws {UsageError} QUEUE_FULL, NOT_NEGOTIATED, BAD_ARGUMENT.
   */
  async connect(port: number, cid: number = hostCid): Promise<VsockStream> {
    await this.#interrupted;
    return this.#sockets.connect(cid, port);
  }

  /** As `connect`, between seqpacket sockets. */
  async connectSeqpacket(port: number, cid: number = hostCid): Promise<VsockSeqpacket> {
    await this.#interrupted;
    return this.#sockets.connectSeqpacket(cid, port);
  }

  /**
   * Takes connections to a port of this guest's.
   *
   * @throws {UsageError} BAD_ARGUMENT when somebody listens there already.
   */
  listen(port: number, handler: StreamHandler): VsockListener {
    return this.#sockets.listen(port, handler);
  }

  /** As `listen`, between seqpacket sockets. */
  listenSeqpacket(port: number, handler: SeqpacketHandler): VsockListener {
    return this.#sockets.listenSeqpacket(port, handler);
  }

  /** Resets the device and lets go of it: connections end with DEVICE_GONE. */
  async close(): Promise<void> {
    this.#endpoint.stop(new HostError('DEVICE_GONE', 'the socket device was closed'));
    await this.#device.close();
  }

  /** @internal The queues are live. Event buffers first, as the specification has it. */
  start(): void {
    const events = this.#device.queue('event');
    for (let i = 0; i < Math.min(eventBuffers, events.size); i++) {
      this.#offerEvent(events, events.allocate(virtio_vsock_event.size));
    }
    for (let i = 0; i < Math.min(bufferCount, this.#tx.size); i++)
      this.#free.push(this.#tx.allocate(bufferLength));
    for (let i = 0; i < Math.min(bufferCount, this.#rx.size); i++)
      this.#offer(this.#rx.allocate(bufferLength));
  }

  /** @internal */
  failed(error: Error): void {
    this.#endpoint.stop(error);
    this.#options.onFailure?.(error);
  }

  /** @spec 5.10.6.3.1 driver: Device Types / Socket Device / Device Operation / Buffer Space Management */
  #send(): void {
    const packet = this.#outgoing;
    while (this.#mayWork && !this.#tx.closed && this.#endpoint.hasNext) {
      const address = this.#free.pop();
      if (address === undefined) return;
      this.#endpoint.next(packet, payloadLength);
      packet.encode();
      this.#tx.memory.write(address, packet.header);
      this.#tx.memory.write(address + headerLength, packet.payload);
      const length = headerLength + packet.payload.length;
      this.#tx.submit([{ address, length }], [], (_, failure) => {
        if (failure !== undefined) return;
        this.#free.push(address);
        this.#send();
        this.#receiveHeld();
      });
    }
  }

  #offer(address: number): void {
    if (this.#rx.closed) return;
    this.#rx.submit([], [{ address, length: bufferLength }], (length, failure) => {
      if (failure !== undefined) return;
      this.#held.push({ address, length });
      this.#receiveHeld();
    });
  }

  /**
   * Takes what the device sent, whether or not answers can be sent at once, while there is room for them.
   *
   * @spec 5.10.6.1.1 driver: Device Types / Socket Device / Device Operation / Virtqueue Flow Control
   */
  #receiveHeld(): void {
    if (!this.#mayWork) return;
    this.#receiving = true;
    try {
      while (this.#interrupted === undefined && this.#endpoint.mayReceive) {
        const filled = this.#held.shift();
        if (filled === undefined) break;
        this.#receive(this.#rx.memory.read(filled.address, filled.length));
        this.#offer(filled.address);
      }
    } catch (error) {
      this.#device.fail(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#receiving = false;
    }
    this.#send();
  }

  get #mayWork(): boolean {
    return this.#interrupted === undefined && !this.#receiving;
  }

  /** @throws {PeerError} BAD_RESPONSE for what is no packet. */
  #receive(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length < headerLength) throw malformed(`${bytes.length} bytes, which are no packet`);
    const packet = this.#incoming;
    packet.header.set(bytes.subarray(0, headerLength));
    packet.decode();
    // What was sent to a CID that this guest had before is for nobody.
    if (packet.dstCid === this.cid) this.#endpoint.receive(packet, payloadOf(bytes));
  }

  #offerEvent(queue: OpenQueue, address: number): void {
    const length = virtio_vsock_event.size;
    queue.submit([], [{ address, length }], (written, failure) => {
      if (failure !== undefined) return;
      const bytes = queue.memory.read(address, written);
      // It goes back first: no event may be missed.
      if (!queue.closed) this.#offerEvent(queue, address);
      if (written < length) this.#device.fail(malformed(`an event of ${written} bytes`));
      else if (virtio_vsock_event.read(this.#device.view(bytes)).id === vsockEvent.TRANSPORT_RESET)
        this.#interrupt();
    });
  }

  /** @spec 5.10.6.7.1 driver: Device Types / Socket Device / Device Operation / Device Events */
  #interrupt(): void {
    this.#endpoint.loseAll(new HostError('CONNECTION_RESET', 'communication with the host was interrupted'));
    const settled = this.#refresh().finally(() => {
      // Of several, the last one ends it.
      if (this.#interrupted !== settled) return;
      this.#interrupted = undefined;
      this.#receiveHeld();
      this.#send();
    });
    this.#interrupted = settled;
  }

  async #refresh(): Promise<void> {
    try {
      await this.#device.refreshConfig();
      this.#endpoint.localCid = cidOf(this.#device);
      this.#options.onTransportReset?.(this.cid);
    } catch (error) {
      this.#device.fail(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

/**
 * Opens a socket device.
 *
 * @example
 * const sockets = await openVsock(transport);
 * const stream = await sockets.connect(1024);
 * await stream.write(request);
 * stream.end();
 * for await (const bytes of stream) handle(bytes);
 *
 * @throws what `open` throws; {PeerError} LAYOUT_INVALID for a CID that no guest can have.
 * @spec 5.10.3.1 driver: Device Types / Socket Device / Feature bits
 */
export async function openVsock(transport: Transport, options: OpenVsockOptions = {}): Promise<OpenVsock> {
  let opened: OpenVsock | undefined;
  const device = await open(transport, vsock, {
    ...options,
    features: options.features ?? ['STREAM', 'SEQPACKET', 'NO_IMPLIED_STREAM'],
    queueSize,
    onFailure: (error) => opened?.failed(error),
  });
  try {
    opened = new OpenVsock(device, options);
    opened.start();
    return opened;
  } catch (error) {
    // A device that cannot even be reset is no news.
    await device.abandon().catch(() => {});
    throw error;
  }
}

function cidOf({ config }: OpenDevice<typeof vsock>): number {
  const cid = Number(config.guest_cid ?? 0n);
  if (isGuestCid(cid)) return cid;
  throw new PeerError('LAYOUT_INVALID', `the guest's CID is ${cid}, which is reserved`, vsockClauses.cid);
}

/** What stands behind a packet's header, in bytes that are a copy already. */
const payloadOf = (bytes: Uint8Array<ArrayBuffer>): PayloadSource => ({
  bytes(length) {
    if (headerLength + length <= bytes.length) return bytes.subarray(headerLength, headerLength + length);
    throw malformed(`a payload of ${bytes.length - headerLength} bytes, and says that it has ${length}`);
  },
});

const malformed = (what: string): PeerError =>
  new PeerError('BAD_RESPONSE', `the socket device sent ${what}`, vsockClauses.cid);
