import { HostError, UsageError } from '../../errors.ts';
import { anyPort, isGuestCid, socketType, vsockOp } from './spec.ts';
import { type Addresses, Connection, type ConnectionOwner, type PayloadSource } from './spec-connection.ts';
import { Credit } from './spec-credit.ts';
import type { Packet } from './spec-packet.ts';
import { VsockSeqpacket, VsockStream } from './spec-stream.ts';

/** What this end has for its connections. */
export interface EndpointOptions {
  /** The receive buffer of each connection, in bytes; 256 KiB unless told. */
  readonly bufferSize?: number | undefined;
  /** Connections that there can be at a time, those among them that are over and not read to the end; 1024 unless told. */
  readonly maxConnections?: number | undefined;
}

/** A socket that a connection is to come from. */
export interface VsockSource {
  readonly cid: number;
  readonly port: number;
}

interface RequestBase {
  /** The CID that the peer wants to be connected to: ours, or for a request to a sibling the sibling's. */
  readonly cid: number;
  /** The port there. */
  readonly port: number;
  readonly peerCid: number;
  readonly peerPort: number;
  /** Says that nobody listens there. */
  refuse(): void;
}

/** A peer asks for a connection, and waits until it is accepted or refused. */
export type VsockRequest =
  | (RequestBase & { readonly kind: 'stream'; accept(): VsockStream })
  | (RequestBase & { readonly kind: 'seqpacket'; accept(): VsockSeqpacket });

/** A port at which connections are taken. */
export interface VsockListener {
  readonly port: number;
  /** Takes no more. Connections that were taken go on. */
  close(): void;
}

/** Resets that wait for a buffer, beside those of connections of our own: more, and packets are not taken any more. */
const mostResets = 256;

/** Ports of our own for connections that we ask for, unless told. */
const firstOwnPort = 0x4000_0000;

/** The most bytes of payload in a packet. */
const mostPayload = 65_536;

/** The end of all connections of one side: who listens, who is connected, and what is to be sent. */
export class Endpoint implements ConnectionOwner {
  /** Our CID, which connections of ours have as their source. */
  localCid: number;
  /** The kinds of sockets that were negotiated; none while there is no other side. */
  #types: readonly number[] = [];
  /** Why there is no other side. */
  #absence: Error = new HostError('DEVICE_GONE', 'no driver runs the socket device');
  /** Asked about requests for ports at which nobody listens, which are refused unless it is there. */
  onRequest: ((request: VsockRequest) => void) | undefined;
  /** Asked about requests for CIDs of guests, other than ours; refused unless it is there. */
  onSiblingRequest: ((request: VsockRequest) => void) | undefined;
  readonly #wake: () => void;
  readonly #bufferSize: number;
  readonly #maxConnections: number;
  readonly #connections = new Map<string, Connection>();
  /** Over, but not read to the end. */
  readonly #unread = new Set<Connection>();
  readonly #ready = new Set<Connection>();
  readonly #resets: Addresses[] = [];
  readonly #listeners = new Map<string, (request: VsockRequest) => void>();
  #nextPort = firstOwnPort;

  /** `wake` is called when there is something to send. */
  constructor(localCid: number, options: EndpointOptions, wake: () => void) {
    const { bufferSize = 256 * 1024, maxConnections = 1024 } = options;
    if (!Number.isInteger(bufferSize) || bufferSize < 1024 || bufferSize > 2 ** 30) {
      throw new UsageError('BAD_ARGUMENT', `a buffer of ${bufferSize} bytes: give 1 KiB to 1 GiB`);
    }
    if (!Number.isInteger(maxConnections) || maxConnections < 1) {
      throw new UsageError('BAD_ARGUMENT', `there cannot be ${maxConnections} connections`);
    }
    this.localCid = localCid;
    this.#bufferSize = bufferSize;
    this.#maxConnections = maxConnections;
    this.#wake = wake;
  }

  /**
   * False while so much waits to be sent that nothing may be taken: taking a packet may ask for one to be sent.
   *
   * @spec 5.10.6.1.1 driver: Device Types / Socket Device / Device Operation / Virtqueue Flow Control
   * @spec 5.10.6.1.2 device: Device Types / Socket Device / Device Operation / Virtqueue Flow Control
   */
  get mayReceive(): boolean {
    return this.#resets.length < mostResets;
  }

  /** True when `next` has a packet. */
  get hasNext(): boolean {
    if (this.#resets.length > 0) return true;
    for (const connection of this.#ready) {
      if (connection.pending !== 0) return true;
      this.#ready.delete(connection);
    }
    return false;
  }

  /** Makes the next packet, which counts as sent then, with at most so many bytes of payload. False without one. */
  next(packet: Packet, most: number): boolean {
    const reset = this.#resets.shift();
    if (reset !== undefined) {
      packet.clear();
      packet.op = vsockOp.RST;
      address(packet, reset);
      return true;
    }
    for (const connection of this.#ready) {
      this.#ready.delete(connection);
      if (connection.pending === 0) continue;
      connection.fill(packet, Math.min(most, mostPayload));
      address(packet, connection);
      // Behind all others, so that each has its turn.
      if (connection.pending !== 0) this.#ready.add(connection);
      return true;
    }
    return false;
  }

  /**
   * Takes a packet, from a peer that may say so.
   *
   * An RST of a known type is never answered. One of an unknown type is, by one of a known type: in its own type two that
   * answer would go on for ever.
   *
   * @throws {PeerError} what `source` throws.
   * @spec 5.10.6.4.1 driver: Device Types / Socket Device / Device Operation / Receive and Transmit
   * @spec 5.10.6.4.2 device: Device Types / Socket Device / Device Operation / Receive and Transmit
   */
  receive(packet: Packet, source: PayloadSource): void {
    const { type, op } = packet;
    const { dstCid: localCid, dstPort: localPort, srcCid: peerCid, srcPort: peerPort } = packet;
    const from = { localCid, localPort, peerCid, peerPort, type };
    const connection = this.#connections.get(this.#keyOf(from));
    if (connection !== undefined) {
      if (type === connection.type && connection.receive(packet, source)) return;
      // One that is where it is not expected: neither side can go on from there.
      connection.lose(new HostError('CONNECTION_RESET', 'the peer broke the rules of the connection'));
    } else if (op === vsockOp.REQUEST && this.#types.includes(type)) {
      if (this.#request(from, packet)) return;
    }
    if (op === vsockOp.RST) {
      const [known] = this.#types;
      if (known === undefined || this.#types.includes(type)) return;
      from.type = connection?.type ?? known;
    }
    this.#resets.push(from);
    this.#wake();
  }

  /**
   * Asks for a connection.
   *
   * @param source where it comes from: a port of ours that is free, unless told
   * @throws {HostError} CONNECTION_REFUSED when nobody listens there, or the source is connected to it; DEVICE_GONE when there is no other side.
   * @throws {UsageError} NOT_NEGOTIATED for sockets that the two have not agreed on; QUEUE_FULL when there are as many
   *   connections as there can be; BAD_ARGUMENT for what is no port.
   */
  async connect(type: number, peerCid: number, port: number, source?: VsockSource): Promise<Connection> {
    checkPort(port);
    if (this.#types.length === 0) throw this.#absence;
    if (!this.#types.includes(type)) {
      const name = type === socketType.STREAM ? 'STREAM' : 'SEQPACKET';
      throw new UsageError('NOT_NEGOTIATED', `VIRTIO_VSOCK_F_${name} was not negotiated`);
    }
    if (!this.#hasRoom()) throw new UsageError('QUEUE_FULL', `there are ${this.#maxConnections} connections`);
    const { cid: localCid, port: localPort } = source ?? {
      cid: this.localCid,
      port: this.#ownPort(peerCid, port),
    };
    const to = { localCid, localPort, peerCid, peerPort: port, type };
    if (this.#connections.has(this.#keyOf(to))) {
      throw new HostError('CONNECTION_REFUSED', `port ${localPort} is connected to port ${port} already`);
    }
    return new Promise((resolve, reject) => {
      const connection: Connection = this.#open(to, (failure) => {
        if (failure === undefined) resolve(connection);
        else reject(failure);
      });
      this.ready(connection);
    });
  }

  /** @throws {UsageError} BAD_ARGUMENT for what is no port, or one that is taken. */
  listen(type: number, port: number, onRequest: (request: VsockRequest) => void): VsockListener {
    checkPort(port);
    const key = `${type} ${port}`;
    if (this.#listeners.has(key)) throw new UsageError('BAD_ARGUMENT', `somebody listens at port ${port}`);
    this.#listeners.set(key, onRequest);
    return {
      port,
      close: () => {
        if (this.#listeners.get(key) === onRequest) this.#listeners.delete(key);
      },
    };
  }

  /** There is another side, and these are the kinds of sockets that it has. */
  begin(types: readonly number[]): void {
    this.#types = types;
  }

  /** There is no other side any more. */
  stop(reason: Error): void {
    this.#types = [];
    this.#absence = reason;
    this.loseAll(reason);
  }

  /** All connections are lost, and nothing that was to be sent is. Listeners stay. */
  loseAll(failure: Error): void {
    this.#resets.length = 0;
    for (const connection of [...this.#connections.values()]) connection.lose(failure);
  }

  ready(connection: Connection): void {
    this.#ready.add(connection);
    this.#wake();
  }

  sendReset({ localCid, localPort, peerCid, peerPort, type }: Connection): void {
    this.#resets.push({ localCid, localPort, peerCid, peerPort, type });
    this.#wake();
  }

  gone(connection: Connection): void {
    this.#connections.delete(this.#keyOf(connection));
    this.#ready.delete(connection);
    if (connection.holds) this.#unread.add(connection);
  }

  drained(connection: Connection): void {
    this.#unread.delete(connection);
  }

  #request(from: Addresses, { bufAlloc, fwdCnt }: Packet): boolean {
    const { type, localCid: cid, localPort: port, peerCid, peerPort } = from;
    const listener = this.#askedFor(from);
    if (listener === undefined || !this.#hasRoom()) return false;
    const connection = this.#open(from);
    connection.credit.heard(bufAlloc, fwdCnt);
    const common = { cid, port, peerCid, peerPort, refuse: () => connection.refuse() };
    if (type === socketType.STREAM) {
      listener({ kind: 'stream', ...common, accept: () => new VsockStream(accepted(connection)) });
    } else {
      listener({ kind: 'seqpacket', ...common, accept: () => new VsockSeqpacket(accepted(connection)) });
    }
    return true;
  }

  /** Who decides on a request. */
  #askedFor({ type, localCid, localPort }: Addresses): ((request: VsockRequest) => void) | undefined {
    if (localCid === this.localCid) return this.#listeners.get(`${type} ${localPort}`) ?? this.onRequest;
    return isGuestCid(localCid) ? this.onSiblingRequest : undefined;
  }

  #open(addresses: Addresses, answered?: (failure: Error | undefined) => void): Connection {
    const connection = new Connection(addresses, new Credit(this.#bufferSize), this, answered);
    this.#connections.set(this.#keyOf(addresses), connection);
    return connection;
  }

  /**
   * Makes room for a connection, by resetting one that waits for its peer to end it, if need be: that is how long such
   * a peer has.
   */
  #hasRoom(): boolean {
    if (this.#connections.size + this.#unread.size < this.#maxConnections) return true;
    for (const connection of this.#connections.values()) {
      if (!connection.closing || connection.holds) continue;
      connection.evict();
      return true;
    }
    return false;
  }

  #ownPort(peerCid: number, peerPort: number): number {
    for (;;) {
      const localPort = this.#nextPort;
      this.#nextPort = localPort + 1 === anyPort ? firstOwnPort : localPort + 1;
      const { localCid } = this;
      if (!this.#connections.has(this.#keyOf({ localCid, localPort, peerCid, peerPort }))) return localPort;
    }
  }

  /** Our own CID goes without saying: that is most packets. */
  #keyOf({ localCid, localPort, peerCid, peerPort }: Omit<Addresses, 'type'>): string {
    const key = `${localPort} ${peerCid} ${peerPort}`;
    return localCid === this.localCid ? key : `${key} ${localCid}`;
  }
}

function accepted(connection: Connection): Connection {
  connection.accept();
  return connection;
}

function address(packet: Packet, { localCid, localPort, peerCid, peerPort, type }: Addresses): void {
  packet.srcCid = localCid;
  packet.srcPort = localPort;
  packet.dstCid = peerCid;
  packet.dstPort = peerPort;
  packet.type = type;
}

function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 0 || port >= anyPort) {
    throw new UsageError('BAD_ARGUMENT', `${port} is no port`);
  }
}
