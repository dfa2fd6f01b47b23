import type { Offload } from '../../link/index.ts';
import type { Clock } from './clock.ts';

/** An address and a port: 4 bytes for IPv4, 16 for IPv6. */
export interface TcpAddress {
  readonly address: Uint8Array;
  readonly port: number;
}

/** What IP found: a segment, where it lies. All of it is lent until `receive` returns. */
export interface TcpPacketIn {
  /** The source's address, 4 or 16 bytes; the destination's is as long. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** The bytes among which the segment is. */
  readonly bytes: Uint8Array;
  /** Where its header begins in `bytes`. */
  readonly offset: number;
  /** Bytes of header and payload, by IP's header: what lies behind is padding. */
  readonly length: number;
  /** The frame's: a checksum that is valid or was never completed is not looked at. */
  readonly offload: Pick<Offload, 'checksumValid' | 'needsChecksum' | 'segmentSize'>;
}

/**
 * A segment to be sent, lent until `send` returns; one object serves all. Its checksum field holds the sum of the pseudo
 * header and is to be completed over `length` bytes from `offset`: `needsChecksum` with `checksumOffset` 16.
 */
export interface TcpSegmentOut {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** Where the segment lies. Whoever sends it may write headers of its own in front, in the bytes below `offset`. */
  readonly bytes: Uint8Array;
  /** Where its header begins: the stack's `headroom`. */
  readonly offset: number;
  /** Bytes of header and payload; with the header of IP, at most 65,535. */
  readonly length: number;
  /** Bytes of TCP's header. */
  readonly headerLength: number;
  /** Into pieces of how many bytes of payload it is to be cut; 0 when it is one segment. */
  readonly segmentSize: number;
}

/** How much there may be of everything. All of it is memory that a peer can make us spend. */
export interface TcpLimits {
  /** Connections at a time, in whatever state. One in TIME-WAIT makes room for a new one. */
  readonly connections: number;
  /** Of them, those that a peer began and has not completed. The oldest makes room for a new one. */
  readonly halfOpen: number;
  /** Bytes that a connection may hold for its reader; the window grows up to this as the reader keeps up. */
  readonly receiveBuffer: number;
  /** Bytes that a connection takes from its writer before it says that there is no room. */
  readonly sendBuffer: number;
  /**
   * Bytes that all connections together may have promised their peers room for, beside a least window of each; and bytes that
   * their writers may have given them, beside 64 KiB of each and what one gives at once.
   */
  readonly memory: number;
}

/** What a TCP is made of. Only the first three must be given. */
export interface TcpOptions {
  readonly clock: Clock;
  /** Fills the bytes with what nobody can guess. */
  readonly random: (bytes: Uint8Array) => void;
  /** Sends a segment. False when there is no room: it is given again, as it is, after `room()` was called. */
  readonly send: (segment: TcpSegmentOut) => boolean;
  /** More segments follow at once, or no more do: whoever carries them may tell of many together. */
  readonly more?: ((follow: boolean) => void) | undefined;
  readonly limits?: Partial<TcpLimits> | undefined;
  /** Bytes that lie free in front of each segment, for the headers of IP and the link; 64 unless told. */
  readonly headroom?: number | undefined;
  /** The largest packet of IP that the link carries, in bytes; 1500 unless told. */
  readonly mtu?: number | undefined;
  /** Milliseconds that a connection stays in TIME-WAIT; 60,000 unless told. */
  readonly timeWait?: number | undefined;
}

/** A peer asks for a connection. It waits until it is accepted or refused; it may give up meanwhile. */
export interface TcpRequest {
  /** What the peer wants to be connected to. */
  readonly local: TcpAddress;
  /** The peer. */
  readonly remote: TcpAddress;
  /** Grants it. What is written is sent once the peer has agreed. */
  accept(): TcpStream;
  /** Says that nobody listens there. */
  refuse(): void;
  /** Forgets it and answers nothing; for when ICMP says why. */
  drop(): void;
  /** Called when the peer gave up, or was forgotten for others' sake, before there was an answer. */
  onGone: (() => void) | undefined;
}

/** Hears of a stream without promises. */
export interface TcpHandler {
  /**
   * Bytes from the peer, in order, lent until this returns.
   *
   * @returns how many it takes, from the first on. When not all, the rest waits until `resume()`.
   */
  data(bytes: Uint8Array): number;
  /** The peer sends nothing more; all that it sent was taken. */
  end(): void;
  /** There is room again, after `tryWrite` had taken less than all, `give` nothing, or `put` had enough. */
  writable(): void;
  /** The connection is over: `undefined` when both sides had ended it. Called once, as the last. */
  closed(failure: Error | undefined): void;
}

/** A connection: bytes both ways, with back pressure. */
export interface TcpStream {
  readonly local: TcpAddress;
  readonly remote: TcpAddress;
  /**
   * Sends bytes. Settles when the other side has acknowledged them; they must not change until then. Whoever waits for
   * each write before the next is held back by a peer that does not read.
   *
   * @throws {HostError} CONNECTION_RESET when the connection is over.
   * @throws {UsageError} BAD_STATE behind `end` or `close`.
   */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Sends as many of the bytes as there is room for, and copies them. When not all, the handler's `writable` is called
   * once there is room.
   *
   * @returns how many it took: none when the connection is over
   * @throws {UsageError} BAD_STATE behind `end` or `close`.
   */
  tryWrite(bytes: Uint8Array): number;
  /**
   * Sends bytes without a copy: they are the stream's from now on, and must never change again. False when there is no
   * room: nothing of it was taken, and the handler's `writable` is called once there is.
   *
   * @throws {UsageError} BAD_STATE behind `end` or `close`.
   */
  give(bytes: Uint8Array): boolean;
  /**
   * Sends a copy of all the bytes. False when there is enough of them now: whoever goes on all the same costs memory. The
   * handler's `writable` is called once there is room.
   *
   * @throws {UsageError} BAD_STATE behind `end` or `close`.
   */
  put(bytes: Uint8Array): boolean;
  /** Bytes that were written and not acknowledged. */
  readonly unacknowledged: number;
  /**
   * The next bytes, as many as lie together; `undefined` at the end. Not with a handler.
   *
   * @throws {HostError} CONNECTION_RESET when the connection ended otherwise than by its peer's saying so.
   */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** All that comes, to the end. */
  [Symbol.asyncIterator](): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined>;
  /** Hears of everything from now on, instead of `read`; what came before is told at once. */
  handle(handler: TcpHandler): void;
  /** The handler takes bytes again; it is given those that wait before this returns. */
  resume(): void;
  /** Sends nothing more: the other side comes to the end of what it reads. What was written before is sent. */
  end(): void;
  /**
   * Ends the connection: sends what was written, takes nothing more. A peer that goes on sending, or whose bytes wait
   * unread, hears of a reset (RFC 9293, 3.6.1). Settles when the connection is over.
   */
  close(): Promise<void>;
  /** Ends the connection at once; the other side hears of a reset. */
  reset(): void;
  /** Settles when the connection is over, in whatever way: both sides have ended it, or it was reset or lost. */
  readonly closed: Promise<void>;
  /** Probes a peer that was silent for so many milliseconds, and loses the connection when it stays so; 0 for never. */
  keepAlive(milliseconds: number): void;
  /**
   * Holds back a small segment while another small one is under way (Nagle's algorithm, by whole segments, so that the end of
   * something large never waits); off unless told.
   */
  nagle(on: boolean): void;
  /**
   * More is about to be written: what makes no full segment waits for it, a fifth of a second at most. Off again, and at
   * `end`, it is sent.
   */
  cork(on: boolean): void;
}

/** Of the packet that an ICMP message quotes: one of ours. Its first 8 bytes of TCP suffice. */
export interface QuotedSegment {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly bytes: Uint8Array;
  /** Where TCP's header begins. */
  readonly offset: number;
}

/** A TCP for many connections, beneath whom an IP lies. */
export interface Tcp {
  /** Asked about each new connection that a peer wants; without it they are refused. */
  onConnect: ((request: TcpRequest) => void) | undefined;
  /** Takes a segment that IP has checked as far as it can: addresses of single hosts on both sides. */
  receive(packet: TcpPacketIn): void;
  /** More segments come at once, and are answered together; and, without fail and within the same turn, no more do. */
  more(follow: boolean): void;
  /** There is room again where `send` had returned false. */
  room(): void;
  /**
   * Asks a peer for a connection. Port 0 of `local` is any that is free.
   *
   * @throws {HostError} CONNECTION_REFUSED when nobody listens there; CONNECTION_RESET when nobody answers.
   * @throws {UsageError} QUEUE_FULL when there are as many connections as there can be; BAD_ARGUMENT for what is no
   *   address or no port, or a pair of them that is taken.
   */
  connect(local: TcpAddress, remote: TcpAddress): Promise<TcpStream>;
  /** ICMP says that a packet of ours was too big for the path, which carries `mtu` bytes. */
  tooBig(quoted: QuotedSegment, mtu: number): void;
  /** ICMP says that a packet of ours did not arrive: a connection that is being asked for is given up. */
  unreachable(quoted: QuotedSegment): void;
  /** The largest packet that the link carries has changed: new connections go by it. */
  mtu: number;
  /** Connections that there are, in whatever state. */
  readonly connections: number;
  /** Resets every connection and takes nothing more. */
  close(): void;
}
