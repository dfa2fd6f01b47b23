import type {
  DatagramUser,
  FailureReason,
  ListenOptions,
  StreamEnd,
  StreamUser,
  Target,
  Uplink,
} from './uplink.ts';

/** The far end of a stream that a guest asked for, as a test plays it. */
export class FarStream implements StreamEnd {
  readonly target: Target;
  readonly user: StreamUser;
  readonly received: number[] = [];
  /** What happened beside bytes. */
  readonly events: string[] = [];
  /** What `write` says. */
  ready = true;

  constructor(target: Target, user: StreamUser) {
    this.target = target;
    this.user = user;
  }

  write(bytes: Uint8Array): boolean {
    this.received.push(...bytes);
    return this.ready;
  }

  give(bytes: Uint8Array): boolean {
    return this.write(bytes);
  }

  room(): void {
    this.events.push('room');
  }

  end(): void {
    this.events.push('end');
  }

  abort(reason: FailureReason): void {
    this.events.push(`abort ${reason}`);
  }
}

/** The socket of a flow of datagrams. */
export interface FarSocket {
  readonly family: 4 | 6;
  readonly user: DatagramUser;
  readonly sent: { readonly bytes: Uint8Array; readonly address: string; readonly port: number }[];
  closed: boolean;
}

/** A world that a test plays by hand. */
export class HandUplink implements Uplink {
  readonly streams: FarStream[] = [];
  readonly sockets: FarSocket[] = [];
  readonly listeners: {
    readonly where: ListenOptions;
    readonly open: Parameters<NonNullable<Uplink['listen']>>[1];
  }[] = [];
  readonly queries: Uint8Array[] = [];
  readonly hosts = new Map<string, string[]>();
  /** What becomes of a stream, at once. */
  outcome: 'open' | 'wait' | FailureReason = 'open';
  onQuery: ((message: Uint8Array) => Uint8Array | undefined) | undefined;

  connect(target: Target, user: StreamUser): StreamEnd {
    const stream = new FarStream(target, user);
    this.streams.push(stream);
    const { outcome } = this;
    if (outcome === 'wait') return stream;
    void Promise.resolve().then(() => (outcome === 'open' ? user.opened() : user.failed(outcome)));
    return stream;
  }

  datagrams(family: 4 | 6, user: DatagramUser) {
    const socket: FarSocket = { family, user, sent: [], closed: false };
    this.sockets.push(socket);
    return {
      send(bytes: Uint8Array, address: string, port: number): boolean {
        socket.sent.push({ bytes: bytes.slice(), address, port });
        return true;
      },
      close(): void {
        socket.closed = true;
      },
    };
  }

  async listen(where: ListenOptions, open: Parameters<NonNullable<Uplink['listen']>>[1]) {
    this.listeners.push({ where, open });
    return { ...where, close() {} };
  }

  async lookup(name: string): Promise<readonly string[]> {
    return this.hosts.get(name) ?? [];
  }

  async query(message: Uint8Array): Promise<Uint8Array | undefined> {
    this.queries.push(message);
    return this.onQuery?.(message);
  }
}

/** Lets everything happen that waits for nothing. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}
