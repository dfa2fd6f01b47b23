import type {
  DatagramSocket,
  DatagramUser,
  FailureReason,
  StreamEnd,
  StreamUser,
  Uplink,
} from '../uplink.ts';

/** What is used of a WebSocket, so that any will do: a page's, Node's, one of a test. */
export interface WebSocketLike {
  binaryType: string;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(): void;
  addEventListener(
    type: 'open' | 'message' | 'close' | 'error',
    listener: (event: { readonly data?: unknown }) => void,
  ): void;
}

/** How to reach a server. */
export interface WispOptions {
  /** Opens a connection to it: `() => new WebSocket('wss://example.org/wisp/')`. Called again when one was lost. */
  readonly open: () => WebSocketLike;
  /** Lets guests send datagrams by it; off unless told, as not every server carries them. */
  readonly datagrams?: boolean | undefined;
  /**
   * Bytes that a connection may hold for a guest that does not read, beyond which it is closed: the protocol cannot ask a
   * server to wait. 4 MiB unless told.
   */
  readonly mostHeld?: number | undefined;
}

/** Kinds of packets. */
const packet = Object.freeze({ CONNECT: 1, DATA: 2, CONTINUE: 3, CLOSE: 4, INFO: 5 } as const);
const streamType = Object.freeze({ TCP: 1, UDP: 2 } as const);
/** Why a client closes: because its side did, or because it can take no more. */
const closing = Object.freeze({ VOLUNTARY: 0x02, CLIENT_FAILED: 0x81 } as const);

const reasons: Readonly<Record<number, FailureReason>> = Object.freeze({
  65: 'prohibited',
  66: 'host-unreachable',
  67: 'timed-out',
  68: 'refused',
  71: 'timed-out',
  72: 'prohibited',
  73: 'prohibited',
});

const header = 5;
/** Destinations of one socket for datagrams. */
const mostDestinations = 64;

/** What hears of packets for a stream. */
interface Receiver {
  opened(credit: number): void;
  data(bytes: Uint8Array<ArrayBuffer>): void;
  credit(packets: number): void;
  closed(reason: number): void;
}

/**
 * The world by a server of the Wisp protocol, version 1: many streams over one WebSocket. It is given names where guests
 * know any. The protocol has no half of a connection that ends by itself: when a guest ends its own, the server is not told.
 */
export function wispUplink(options: WispOptions): Uplink {
  const connection = new WispConnection(options.open);
  const { mostHeld = 4 << 20, datagrams = false } = options;
  return {
    wantsNames: true,
    connect: ({ address, port, name }, user) =>
      new WispStream(connection, { host: name ?? address, port }, user, mostHeld),
    ...(datagrams && {
      datagrams: (_family: 4 | 6, user: DatagramUser) => new WispDatagrams(connection, user),
    }),
    close: () => connection.close(),
  };
}

/** One WebSocket at a time, and the streams that run over it. */
class WispConnection {
  readonly #open: () => WebSocketLike;
  readonly #streams = new Map<number, Receiver>();
  #socket: WebSocketLike | undefined;
  /** Packets that a new stream may send; `undefined` until the server has said. */
  #credit: number | undefined;
  #next = 1;

  constructor(open: () => WebSocketLike) {
    this.#open = open;
  }

  /** Gives a stream its number. It hears when the server is there; nothing may be sent before. */
  add(receiver: Receiver): number {
    const id = this.#next;
    this.#next = id === 0xffff_ffff ? 1 : id + 1;
    this.#streams.set(id, receiver);
    this.#socket ??= this.#connect();
    const credit = this.#credit;
    // Not from within this call: whoever adds itself is not ready to hear.
    if (credit !== undefined) void Promise.resolve().then(() => this.#streams.get(id)?.opened(credit));
    return id;
  }

  remove(id: number): void {
    this.#streams.delete(id);
  }

  connect(id: number, type: number, host: string, port: number): void {
    // Names are of ASCII: what is not has been encoded so.
    const bytes = new Uint8Array(header + 3 + host.length);
    bytes.set([type, port & 0xff, port >> 8], header);
    for (let at = 0; at < host.length; at++) bytes[header + 3 + at] = host.charCodeAt(at);
    this.#send(packet.CONNECT, id, bytes);
  }

  data(id: number, payload: Uint8Array): void {
    const bytes = new Uint8Array(header + payload.length);
    bytes.set(payload, header);
    this.#send(packet.DATA, id, bytes);
  }

  closeStream(id: number, reason: number): void {
    this.#streams.delete(id);
    if (this.#credit !== undefined) this.#send(packet.CLOSE, id, Uint8Array.of(0, 0, 0, 0, 0, reason));
  }

  close(): void {
    this.#socket?.close();
    this.#lost(this.#socket);
  }

  #send(kind: number, id: number, bytes: Uint8Array<ArrayBuffer>): void {
    bytes.set([kind, id, id >>> 8, id >>> 16, id >>> 24]);
    this.#socket?.send(bytes);
  }

  #connect(): WebSocketLike {
    const socket = this.#open();
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('message', ({ data }) => {
      if (socket === this.#socket && data instanceof ArrayBuffer) this.#received(new Uint8Array(data));
    });
    socket.addEventListener('close', () => this.#lost(socket));
    socket.addEventListener('error', () => this.#lost(socket));
    return socket;
  }

  #received(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length < header) return;
    const id = (bytes[1]! | (bytes[2]! << 8) | (bytes[3]! << 16) | (bytes[4]! << 24)) >>> 0;
    const stream = this.#streams.get(id);
    switch (bytes[0]) {
      case packet.DATA:
        stream?.data(bytes.subarray(header));
        return;
      case packet.CLOSE:
        this.#streams.delete(id);
        stream?.closed(bytes[header] ?? 1);
        return;
      case packet.CONTINUE: {
        if (bytes.length < header + 4) return;
        const credit = (bytes[5]! | (bytes[6]! << 8) | (bytes[7]! << 16) | (bytes[8]! << 24)) >>> 0;
        if (id !== 0) stream?.credit(credit);
        else if (this.#credit === undefined) {
          this.#credit = credit;
          for (const waiting of [...this.#streams.values()]) waiting.opened(credit);
        }
      }
    }
  }

  #lost(socket: WebSocketLike | undefined): void {
    if (socket === undefined || socket !== this.#socket) return;
    this.#socket = undefined;
    this.#credit = undefined;
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    for (const stream of streams) stream.closed(0x42);
  }
}

/** A stream of TCP. */
class WispStream implements StreamEnd {
  readonly #connection: WispConnection;
  readonly #user: StreamUser;
  readonly #mostHeld: number;
  readonly #id: number;
  #opened = false;
  #over = false;
  /** Packets that the server takes before it says more. */
  #credit = 0;
  #waiting: Uint8Array | undefined;
  /** What came while the user had no room. */
  readonly #held: Uint8Array[] = [];
  #heldBytes = 0;
  #userFull = false;
  #endHeld = false;

  constructor(
    connection: WispConnection,
    { host, port }: { readonly host: string; readonly port: number },
    user: StreamUser,
    mostHeld: number,
  ) {
    this.#connection = connection;
    this.#user = user;
    this.#mostHeld = mostHeld;
    this.#id = connection.add({
      opened: (credit) => {
        this.#opened = true;
        this.#credit = credit;
        connection.connect(this.#id, streamType.TCP, host, port);
        user.opened();
      },
      data: (bytes) => this.#data(bytes),
      credit: (packets) => {
        this.#credit = packets;
        const waiting = this.#waiting;
        if (waiting === undefined || packets === 0) return;
        this.#waiting = undefined;
        this.#send(waiting);
        if (this.#credit > 0) user.room();
        else this.#waiting = new Uint8Array();
      },
      closed: (reason) => this.#closed(reason),
    });
  }

  write(bytes: Uint8Array): boolean {
    if (this.#over) return true;
    if (this.#credit > 0) {
      this.#send(bytes);
      if (this.#credit > 0) return true;
      this.#waiting = new Uint8Array();
      return false;
    }
    this.#waiting = bytes.slice();
    return false;
  }

  give(bytes: Uint8Array): boolean {
    return this.write(bytes);
  }

  room(): void {
    this.#userFull = false;
    while (!this.#userFull && this.#held.length > 0) {
      const bytes = this.#held.shift()!;
      this.#heldBytes -= bytes.length;
      this.#userFull = !this.#user.give(bytes);
    }
    if (this.#endHeld && !this.#userFull) {
      this.#endHeld = false;
      this.#user.end();
    }
  }

  end(): void {
    // There is no way to say so, and to close would lose what the server has yet to send.
  }

  abort(): void {
    if (!this.#over) this.#connection.closeStream(this.#id, closing.VOLUNTARY);
    this.#over = true;
    this.#held.length = 0;
    this.#endHeld = false;
  }

  #send(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#credit--;
    this.#connection.data(this.#id, bytes);
  }

  #data(bytes: Uint8Array): void {
    if (this.#over || !this.#opened) return;
    if (!this.#userFull) {
      this.#userFull = !this.#user.give(bytes);
      return;
    }
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
    if (this.#heldBytes <= this.#mostHeld) return;
    this.#connection.closeStream(this.#id, closing.CLIENT_FAILED);
    this.#over = true;
    this.#held.length = 0;
    this.#user.abort('reset');
  }

  #closed(reason: number): void {
    if (this.#over) return;
    this.#over = true;
    if (!this.#opened) this.#user.failed(reasons[reason] ?? 'host-unreachable');
    else if (reason !== closing.VOLUNTARY) {
      this.#held.length = 0;
      this.#user.abort(reasons[reason] ?? 'reset');
    } else if (this.#userFull) this.#endHeld = true;
    else this.#user.end();
  }
}

/** Datagrams: a stream for each destination. */
class WispDatagrams implements DatagramSocket {
  readonly #connection: WispConnection;
  readonly #user: DatagramUser;
  readonly #streams = new Map<string, { readonly id: number; opened: boolean }>();

  constructor(connection: WispConnection, user: DatagramUser) {
    this.#connection = connection;
    this.#user = user;
  }

  send(bytes: Uint8Array, address: string, port: number): boolean {
    const stream = this.#streamTo(address, port);
    // What is sent before the server is there is lost, as datagrams may be.
    if (!stream.opened) return false;
    this.#connection.data(stream.id, bytes);
    return true;
  }

  close(): void {
    for (const { id } of this.#streams.values()) this.#connection.closeStream(id, closing.VOLUNTARY);
    this.#streams.clear();
  }

  #streamTo(address: string, port: number): { readonly id: number; opened: boolean } {
    const key = `${address} ${port}`;
    const known = this.#streams.get(key);
    if (known !== undefined) return known;
    if (this.#streams.size >= mostDestinations) {
      for (const [oldest, { id }] of this.#streams) {
        this.#connection.closeStream(id, closing.VOLUNTARY);
        this.#streams.delete(oldest);
        break;
      }
    }
    const id = this.#connection.add({
      opened: () => {
        stream.opened = true;
        this.#connection.connect(id, streamType.UDP, address, port);
      },
      data: (bytes) => this.#user.received(bytes, address, port),
      credit: () => {},
      closed: (reason) => {
        this.#streams.delete(key);
        this.#user.failed(reasons[reason] ?? 'host-unreachable', address, port);
      },
    });
    const stream = { id, opened: false };
    this.#streams.set(key, stream);
    return stream;
  }
}
