/**
 * Why something could not be reached, or why a stream ended before its end. The guest hears of each as a real network would
 * tell it: a reset, or ICMP's destination unreachable.
 */
export type FailureReason =
  /** Nobody listens there. */
  | 'refused'
  /** It was there, and gave up. */
  | 'reset'
  /** Nobody answers at that address. */
  | 'host-unreachable'
  /** There is no way to that network. */
  | 'network-unreachable'
  /** There is a rule against it. */
  | 'prohibited'
  /** Nobody answered in time. */
  | 'timed-out';

/** A place in a network. */
export interface Target {
  /** An address of IPv4 in dotted form, or one of IPv6 as RFC 5952 writes it. */
  readonly address: string;
  readonly port: number;
  /**
   * The name by which the guest found the address. Known only over an uplink that `wantsNames`, and even then absent when
   * the guest never asked for one.
   */
  readonly name?: string | undefined;
}

/**
 * One end of a stream of bytes, as the other end uses it. Both ends of a stream look like this to each other; neither makes
 * the other wait by a promise.
 */
export interface StreamEnd {
  /**
   * Takes bytes, which are lent until this returns. False when it has enough: it took these, and no more may be written until
   * it calls `room` of the other end. That is how a slow reader holds back a writer.
   *
   * @param more others follow at once: what makes no full segment may wait for them, until `write` without it, `end` or `flush`
   */
  write(bytes: Uint8Array, more?: boolean): boolean;
  /** As `write`, with bytes that are never changed again, so that nobody has to copy them. */
  give(bytes: Uint8Array): boolean;
  /** This end may write again, after it got false. */
  room(): void;
  /** Nothing followed what was written last, though it said so. */
  flush?(): void;
  /** No more bytes follow those that were written. The other direction goes on. */
  end(): void;
  /** The stream is over in both directions, and what is still under way is lost. Called once; nothing follows. */
  abort(reason: FailureReason): void;
}

/** The network's end of a stream that the uplink opens: a stream's end that hears how the opening went. */
export interface StreamUser extends StreamEnd {
  /** The other side is there. Before this, nothing else is called but `failed`. */
  opened(): void;
  /** The other side cannot be had. Nothing follows. */
  failed(reason: FailureReason): void;
}

/** What a socket for datagrams tells. */
export interface DatagramUser {
  /** A datagram came, from there; the bytes are lent until this returns. */
  received(bytes: Uint8Array, address: string, port: number): void;
  /** What was sent there cannot arrive. */
  failed(reason: FailureReason, address: string, port: number): void;
}

/** A socket for datagrams. */
export interface DatagramSocket {
  /**
   * Sends a datagram; the bytes are lent until this returns. False when there is no room and it was dropped, as networks
   * drop.
   */
  send(bytes: Uint8Array, address: string, port: number): boolean;
  close(): void;
}

/** What waits for connections or datagrams from outside. */
export interface UplinkListener {
  readonly address: string;
  readonly port: number;
  close(): void;
}

/** Where to listen. */
export interface ListenOptions {
  /** An address of the host's. */
  readonly address: string;
  /** 0 for any that is free. */
  readonly port: number;
}

/** What a raw DNS query asks for, and over what. */
export interface QueryOptions {
  /** True when the guest asked over TCP: the answer may have 65,535 bytes. */
  readonly large: boolean;
}

/**
 * The world behind a network: what can be reached, and how. Everything but `connect` may be absent; guests then find that
 * part of the world missing, and nothing else changes.
 *
 * `connect`, `datagrams` and the listening ones call nothing back before they have returned.
 */
export interface Uplink {
  /**
   * Set when it would rather have names than addresses, as one that passes names on to somebody else does. The network's
   * name server then answers each name with an address of its own making, and tells `connect` the name.
   */
  readonly wantsNames?: boolean;
  /** Opens a stream. Returns its far end at once; writing may begin when `user.opened` was called. */
  connect(target: Target, user: StreamUser): StreamEnd;
  /**
   * Opens a socket for datagrams to anywhere.
   *
   * @param family of addresses that it will be used for
   */
  datagrams?(family: 4 | 6, user: DatagramUser): DatagramSocket;
  /** Takes streams from outside. `open` returns the network's end of each, or `undefined` to refuse it. */
  listen?(
    where: ListenOptions,
    open: (stream: StreamEnd, from: Target) => StreamEnd | undefined,
  ): Promise<UplinkListener>;
  /** Takes datagrams from outside at one address; answers go out from there. */
  listenDatagrams?(
    where: ListenOptions,
    user: DatagramUser,
  ): Promise<UplinkListener & Pick<DatagramSocket, 'send'>>;
  /** The addresses of a name as the host knows it, its file of hosts included; empty without any. */
  lookup?(name: string, family: 4 | 6): Promise<readonly string[]>;
  /** Gives a whole DNS message to the host's name servers; `undefined` when none of them answered. */
  query?(message: Uint8Array, options: QueryOptions): Promise<Uint8Array | undefined>;
  /** Asks whether somebody is there, as ping does: true when it answered, whatever it said. */
  echo?(address: string, payload: Uint8Array): Promise<boolean>;
  /** Lets go of everything that it holds open, of all networks that it serves. */
  close?(): void;
}
