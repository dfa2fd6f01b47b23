import { HostError, UsageError } from '../../errors.ts';
import { seqFlag, shutdownFlag, socketType, vsockOp } from './spec.ts';
import type { Credit } from './spec-credit.ts';
import type { Packet } from './spec-packet.ts';
import { Received, type ReceivedMessage } from './spec-received.ts';

/** Where a connection belongs. */
export interface ConnectionOwner {
  /** It may have something to send. */
  ready(connection: Connection): void;
  /** Its addresses are free again; what it received may wait for its reader still. */
  gone(connection: Connection): void;
  /** What it received was read. */
  drained(connection: Connection): void;
  /** The peer is to hear that it is gone. */
  sendReset(connection: Connection): void;
}

/** The two ends of a connection, as seen from here. */
export interface Addresses {
  /** This end's CID; on a host's side another guest's, where it stands for that. */
  readonly localCid: number;
  readonly localPort: number;
  readonly peerCid: number;
  readonly peerPort: number;
  /** One of {@link socketType}. */
  readonly type: number;
}

/** Bytes of a payload where they lie. */
export interface PayloadSource {
  /** A copy of the next bytes, or bytes that are nobody else's. @throws {PeerError} when there are fewer. */
  bytes(length: number): Uint8Array<ArrayBuffer>;
}

interface Write {
  readonly bytes: Uint8Array;
  /** Of the last packet of a message. */
  readonly flags: number;
  sent: number;
  resolve(): void;
  reject(error: Error): void;
}

interface Reader {
  /** True when there was something, and it was handed over. */
  take(): boolean;
  end(failure: Error | undefined): void;
}

const both = shutdownFlag.RECEIVE | shutdownFlag.SEND;
const none = new Uint8Array();

/** One connection of a stream or seqpacket socket: the same on both sides. */
export class Connection implements Addresses {
  readonly localCid: number;
  readonly localPort: number;
  readonly peerCid: number;
  readonly peerPort: number;
  readonly type: number;
  readonly credit: Credit;
  /** Settles when the connection is over, in whatever way. */
  readonly over: Promise<void>;
  readonly #owner: ConnectionOwner;
  readonly #received = new Received();
  readonly #writes: Write[] = [];
  readonly #readers: Reader[] = [];
  #state: 'requesting' | 'incoming' | 'open' | 'gone';
  #owes: { request: boolean; response: boolean; credit: boolean } = {
    request: false,
    response: false,
    credit: false,
  };
  /** The peer was asked for its credit, and nothing was sent since: two that ask and answer must not go on for ever. */
  #asked = false;
  /** Shutdown hints: to be sent, sent, and heard. */
  #wanted = 0;
  #told = 0;
  #heard = 0;
  #failure: Error | undefined;
  #settleOver: () => void = () => {};
  #answered: ((failure: Error | undefined) => void) | undefined;

  constructor(
    addresses: Addresses,
    credit: Credit,
    owner: ConnectionOwner,
    /** Called when the peer has granted or refused the connection, which is then asked for. */
    answered?: (failure: Error | undefined) => void,
  ) {
    this.localCid = addresses.localCid;
    this.localPort = addresses.localPort;
    this.peerCid = addresses.peerCid;
    this.peerPort = addresses.peerPort;
    this.type = addresses.type;
    this.credit = credit;
    this.#owner = owner;
    this.#answered = answered;
    this.#state = answered === undefined ? 'incoming' : 'requesting';
    this.#owes.request = answered !== undefined;
    this.over = new Promise((resolve) => {
      this.#settleOver = resolve;
    });
  }

  /** True while the addresses are taken. */
  get live(): boolean {
    return this.#state !== 'gone';
  }

  /** True once this end wants nothing but the end of the connection. */
  get closing(): boolean {
    return this.#wanted === both && this.#state === 'open';
  }

  /** True while something that was received waits to be read. */
  get holds(): boolean {
    return (this.type === socketType.SEQPACKET ? this.#received.messages : this.#received.length) > 0;
  }

  /** Grants what the peer asked for. Does nothing when it has given up meanwhile. */
  accept(): void {
    if (this.#state !== 'incoming') return;
    this.#state = 'open';
    this.#owes.response = true;
    this.#owner.ready(this);
  }

  /** Refuses what the peer asked for, unless it was accepted. */
  refuse(): void {
    if (this.#state === 'incoming') this.abort();
  }

  /** Sends bytes, or a message whose last packet has `flags`. Settles when the other side has all of them. */
  write(bytes: Uint8Array, flags: number): Promise<void> {
    const written = this.#write(bytes, flags);
    // Whoever does not wait does not hear of it: a peer that ends its side must not end the host's process.
    written.catch(() => {});
    return written;
  }

  async #write(bytes: Uint8Array, flags: number): Promise<void> {
    if ((this.#wanted & shutdownFlag.SEND) !== 0) {
      throw new UsageError('BAD_STATE', 'this end of the connection was ended: nothing more can be sent');
    }
    if (!this.live || (this.#heard & shutdownFlag.RECEIVE) !== 0) throw this.#failure ?? receivesNoMore();
    if (flags !== 0 && bytes.length > this.credit.peerBufAlloc) {
      const room = `${this.credit.peerBufAlloc} bytes`;
      throw new UsageError(
        'BAD_ARGUMENT',
        `a message of ${bytes.length} bytes: the peer's buffer has ${room}`,
      );
    }
    if (bytes.length === 0 && flags === 0) return;
    await new Promise<void>((resolve, reject) => {
      this.#writes.push({ bytes, flags, sent: 0, resolve, reject });
      this.#owner.ready(this);
    });
  }

  /** The next bytes; `undefined` at the end. */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.#next(() => this.#received.takeBytes());
  }

  /** The next message; `undefined` at the end. */
  readMessage(): Promise<ReceivedMessage | undefined> {
    return this.#next(() => this.#received.takeMessage());
  }

  /** Sends nothing more, once all that was written is sent. */
  end(): void {
    this.#shutDown(shutdownFlag.SEND);
  }

  /** Ends the connection cleanly: what was written is sent, what comes or came is discarded. */
  close(): void {
    if (this.#state !== 'open') {
      this.abort();
      return;
    }
    this.#wanted = both;
    this.#endReaders(undefined);
    const held = this.#received.length;
    this.#received.clear();
    this.#forward(held);
    this.#owner.ready(this);
  }

  /** Ends the connection at once, from this end. */
  abort(): void {
    if (!this.live) {
      this.#received.clear();
      this.#owner.drained(this);
      return;
    }
    this.lose(new HostError('CONNECTION_RESET', 'the connection was reset from this end'));
    // Of a request that was never sent nobody needs to hear.
    if (!this.#owes.request) this.#owner.sendReset(this);
  }

  /** Waits no longer for the peer to reset what both have ended. */
  evict(): void {
    this.#finish(undefined);
    this.#owner.sendReset(this);
  }

  /** The connection is no more, and nobody is told. */
  lose(failure: Error): void {
    if (!this.live) return;
    this.#received.clear();
    this.#finish(failure);
  }

  /** What is to be sent next; 0 for nothing. */
  get pending(): number {
    if (this.#state === 'requesting') return this.#owes.request ? vsockOp.REQUEST : 0;
    if (this.#state !== 'open') return 0;
    if (this.#owes.response) return vsockOp.RESPONSE;
    const write = this.#writes[0];
    if (write !== undefined && (write.bytes.length === 0 || this.credit.peerFree > 0)) return vsockOp.RW;
    if (this.#owes.credit) return vsockOp.CREDIT_UPDATE;
    if (write !== undefined && !this.#asked) return vsockOp.CREDIT_REQUEST;
    return this.#untold === 0 ? 0 : vsockOp.SHUTDOWN;
  }

  /** Fills in what is to be sent next, with at most so many bytes of payload; it counts as sent then. */
  fill(packet: Packet, most: number): void {
    packet.clear();
    packet.op = this.pending;
    switch (packet.op) {
      case vsockOp.REQUEST:
        this.#owes.request = false;
        break;
      case vsockOp.RESPONSE:
        this.#owes.response = false;
        break;
      case vsockOp.CREDIT_REQUEST:
        this.#asked = true;
        break;
      case vsockOp.SHUTDOWN:
        packet.flags = this.#untold | this.#told;
        this.#told = packet.flags;
        break;
      case vsockOp.RW:
        this.#fillPayload(packet, most);
    }
    this.credit.tell(packet);
    this.#owes.credit = false;
  }

  /** Takes a packet of the peer's. False for one that has no place in this connection. */
  receive(packet: Packet, source: PayloadSource): boolean {
    this.credit.heard(packet.bufAlloc, packet.fwdCnt);
    if (packet.op === vsockOp.RST) this.#reset();
    else if (this.#state === 'requesting') return this.#answer(packet.op);
    else if (this.#state === 'open') return this.#receiveOpen(packet, source);
    // Whoever asks may think again before there is an answer.
    else if (packet.op === vsockOp.SHUTDOWN) this.#hear(packet.flags);
    else return false;
    return true;
  }

  #receiveOpen(packet: Packet, source: PayloadSource): boolean {
    switch (packet.op) {
      case vsockOp.RW:
        if (!this.#receivePayload(packet, source)) return false;
        break;
      case vsockOp.SHUTDOWN:
        this.#hear(packet.flags);
        break;
      case vsockOp.CREDIT_REQUEST:
        this.#owes.credit = true;
        break;
      case vsockOp.CREDIT_UPDATE:
        break;
      default:
        return false;
    }
    this.#owner.ready(this);
    return true;
  }

  #answer(op: number): boolean {
    if (op !== vsockOp.RESPONSE) return false;
    this.#state = 'open';
    this.#answered?.(undefined);
    this.#answered = undefined;
    this.#owner.ready(this);
    return true;
  }

  #receivePayload({ len, flags }: Packet, source: PayloadSource): boolean {
    if ((this.#heard & shutdownFlag.SEND) !== 0 || !this.credit.receive(len)) return false;
    const bytes = source.bytes(len);
    if ((this.#wanted & shutdownFlag.RECEIVE) !== 0) {
      this.#forward(len);
      return true;
    }
    if (len > 0) this.#received.add(bytes);
    if (this.type === socketType.SEQPACKET) {
      if ((flags & seqFlag.EOM) !== 0) this.#received.endMessage((flags & seqFlag.EOR) !== 0);
      // What nobody can ever read would wait for ever, and messages without bytes cost no credit.
      else if (this.#received.messages === 0 && this.credit.held === this.credit.bufAlloc) return false;
      if (this.#received.messages > this.credit.bufAlloc) return false;
    }
    this.#serveReaders();
    return true;
  }

  /** Hints stay, and those that are clear take none back. */
  #hear(flags: number): void {
    this.#heard |= flags & both;
    if ((this.#heard & shutdownFlag.RECEIVE) !== 0) this.#failWrites(receivesNoMore());
    if (this.#heard === both) {
      this.#finish(undefined);
      this.#owner.sendReset(this);
      return;
    }
    if ((this.#heard & shutdownFlag.SEND) === 0) return;
    this.#serveReaders();
    this.#finishHalves();
  }

  /** Both ends have sent all that they wanted: the connection has served its purpose. */
  #finishHalves(): void {
    const done = (this.#heard & shutdownFlag.SEND) !== 0 && (this.#wanted & shutdownFlag.SEND) !== 0;
    if (done) this.#wanted = both;
  }

  #reset(): void {
    // A peer that had said that it sends nothing more, or that we closed, resets what is over.
    const clean = (this.#heard & shutdownFlag.SEND) !== 0 || this.#wanted === both;
    if (!clean) this.#received.clear();
    const refused = this.#state === 'requesting';
    this.#finish(
      clean
        ? undefined
        : new HostError(
            refused ? 'CONNECTION_REFUSED' : 'CONNECTION_RESET',
            refused ? `nobody takes connections at port ${this.peerPort}` : 'the peer reset the connection',
          ),
    );
  }

  #shutDown(flags: number): void {
    if (!this.live) return;
    this.#wanted |= flags;
    this.#finishHalves();
    this.#owner.ready(this);
  }

  /** The hints that can be sent now: that no more data come is said behind the data. */
  get #untold(): number {
    const wanted = this.#writes.length > 0 ? this.#wanted & ~shutdownFlag.SEND : this.#wanted;
    return wanted & ~this.#told;
  }

  #fillPayload(packet: Packet, most: number): void {
    const write = this.#writes[0];
    if (write === undefined) return;
    const { bytes, flags, sent } = write;
    const length = Math.min(most, this.credit.peerFree, bytes.length - sent);
    if (length === 0 && bytes.length > 0) {
      // A buffer for headers alone: it may as well tell something.
      packet.op = vsockOp.CREDIT_UPDATE;
      return;
    }
    packet.payload = length === 0 ? none : bytes.subarray(sent, sent + length);
    write.sent += length;
    this.#asked = false;
    this.credit.sent(length);
    if (write.sent < bytes.length) return;
    packet.flags = flags;
    this.#writes.shift();
    write.resolve();
  }

  #next<T>(take: () => T | undefined): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const reader: Reader = {
        take: () => {
          const taken = take();
          if (taken !== undefined) resolve(taken);
          return taken !== undefined;
        },
        end: (failure) => (failure === undefined ? resolve(undefined) : reject(failure)),
      };
      this.#readers.push(reader);
      this.#serveReaders();
    });
  }

  /** The peer hears last that there is room: it may answer before anything else happens here. */
  #serveReaders(): void {
    const before = this.#received.length;
    let served = 0;
    for (; this.#readers[0]?.take() === true; served++) this.#readers.shift();
    const over = !this.live || (this.#heard & shutdownFlag.SEND) !== 0 || this.#wanted === both;
    if (over) this.#endReaders(this.#failure);
    if (served > 0) this.#forward(before - this.#received.length);
  }

  #endReaders(failure: Error | undefined): void {
    for (const { end } of this.#readers.splice(0)) end(failure);
  }

  #forward(bytes: number): void {
    this.credit.forward(bytes);
    if (!this.live) {
      if (!this.holds) this.#owner.drained(this);
    } else if (this.credit.untold) {
      this.#owes.credit = true;
      this.#owner.ready(this);
    }
  }

  #failWrites(failure: Error): void {
    for (const { reject } of this.#writes.splice(0)) reject(failure);
  }

  #finish(failure: Error | undefined): void {
    this.#state = 'gone';
    this.#failure = failure;
    this.#failWrites(failure ?? receivesNoMore());
    this.#answered?.(failure ?? receivesNoMore());
    this.#answered = undefined;
    // The beginning of a message that never ends is nothing that can be read.
    if (!this.holds) this.#received.clear();
    this.#owner.gone(this);
    this.#serveReaders();
    this.#settleOver();
  }
}

const receivesNoMore = (): HostError =>
  new HostError('CONNECTION_RESET', 'the peer receives nothing more on this connection');
