import { HostError, UsageError } from '../../errors.ts';
import type { Connection, ConnectionUser } from './connection.ts';
import type { TcpAddress, TcpHandler, TcpStream } from './interface.ts';

/** Bytes that may wait to be sent, whatever others have. */
const leastSend = 65_536;

interface Write {
  /** The position behind its last byte. */
  readonly end: number;
  resolve(): void;
  reject(failure: Error): void;
}

interface Reader {
  resolve(bytes: Uint8Array<ArrayBuffer> | undefined): void;
  reject(failure: Error): void;
}

/** A connection, as a program sees it. */
export class Stream implements TcpStream, ConnectionUser {
  readonly closed: Promise<void>;
  readonly #connection: Connection;
  readonly #sendBuffer: number;
  /** Called once when the connection is there, or cannot be had. */
  #opened: ((failure: Error | undefined) => void) | undefined;
  readonly #writes: Write[] = [];
  readonly #readers: Reader[] = [];
  #handler: TcpHandler | undefined;
  /** The handler has not taken all: it is asked again when it resumes. */
  #paused = false;
  /** The handler is being given bytes: what it calls meanwhile must not give it more. */
  #giving = false;
  /** It is being given bytes that waited; and it wants to close behind them. */
  #serving = false;
  #closing = false;
  #toldEnd = false;
  /** The writer found no room, and is to hear of some. */
  #wantsRoom = false;
  #over = false;
  #toldOver = false;
  #failure: Error | undefined;
  #settle: () => void = () => {};

  constructor(connection: Connection, sendBuffer: number, opened?: (failure: Error | undefined) => void) {
    this.#connection = connection;
    this.#sendBuffer = sendBuffer;
    this.#opened = opened;
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    connection.user = this;
  }

  get local(): TcpAddress {
    return this.#connection.local;
  }

  get remote(): TcpAddress {
    return this.#connection.remote;
  }

  get unacknowledged(): number {
    return this.#connection.sender.queue.length;
  }

  write(bytes: Uint8Array): Promise<void> {
    const written = this.#write(bytes);
    // Whoever does not wait does not hear of it: a peer that resets must not end the host's process.
    written.catch(() => {});
    return written;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    this.#checkOpen();
    if (this.#over) throw this.#failure ?? gone();
    if (bytes.length === 0) return;
    const { queue } = this.#connection.sender;
    queue.keep(bytes);
    await new Promise<void>((resolve, reject) => {
      this.#writes.push({ end: queue.end, resolve, reject });
      this.#connection.wake();
    });
  }

  tryWrite(bytes: Uint8Array): number {
    this.#checkOpen();
    if (this.#over) return 0;
    const { queue } = this.#connection.sender;
    const count = Math.min(bytes.length, Math.max(0, this.#sendBuffer - queue.length));
    if (count > 0) {
      queue.copy(bytes, count);
      this.#connection.wake();
    }
    if (count < bytes.length) this.#wantsRoom = true;
    return count;
  }

  give(bytes: Uint8Array): boolean {
    this.#checkOpen();
    if (this.#over) return false;
    const { queue } = this.#connection.sender;
    if (this.#isFull) {
      this.#wantsRoom = true;
      return false;
    }
    if (bytes.length > 0) {
      queue.keep(bytes);
      this.#connection.wake();
    }
    return true;
  }

  put(bytes: Uint8Array): boolean {
    this.#checkOpen();
    if (this.#over) return true;
    const { queue } = this.#connection.sender;
    if (bytes.length > 0) {
      queue.copy(bytes, bytes.length);
      this.#connection.wake();
    }
    if (!this.#isFull) return true;
    this.#wantsRoom = true;
    return false;
  }

  /** As much waits as one may have; less where all of them together have as much as there may be. */
  get #isFull(): boolean {
    const { length } = this.#connection.sender.queue;
    return (
      length >= this.#sendBuffer || (length >= leastSend && this.#connection.owner.sendBudget.free === 0)
    );
  }

  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (this.#handler !== undefined) {
      throw new UsageError('BAD_STATE', 'the stream has a handler, which is given what comes');
    }
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
      this.#serve();
    });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    for (let bytes = await this.read(); bytes !== undefined; bytes = await this.read()) yield bytes;
  }

  handle(handler: TcpHandler): void {
    if (this.#readers.length > 0) throw new UsageError('BAD_STATE', 'somebody waits for what comes');
    this.#handler = handler;
    this.#paused = false;
    this.#serve();
  }

  resume(): void {
    this.#paused = false;
    this.#serve();
  }

  end(): void {
    this.#connection.end();
  }

  close(): Promise<void> {
    // What the handler is being given now does not wait unread.
    if (this.#serving) this.#closing = true;
    else this.#close();
    return this.closed;
  }

  #close(): void {
    const { receiver } = this.#connection;
    this.#connection.close();
    receiver.closed = true;
    if (this.#over) receiver.discard();
    for (const { resolve } of this.#readers.splice(0)) resolve(undefined);
    this.#serve();
  }

  reset(): void {
    this.#connection.abort(new HostError('CONNECTION_RESET', 'the connection was reset from this end'));
    this.#connection.receiver.discard();
  }

  keepAlive(milliseconds: number): void {
    if (!(milliseconds >= 0))
      throw new UsageError('BAD_ARGUMENT', `${milliseconds} ms of silence: give 0 or more`);
    this.#connection.keepAlive(milliseconds);
  }

  nagle(on: boolean): void {
    this.#connection.sender.nagle = on;
  }

  cork(on: boolean): void {
    const { sender } = this.#connection;
    if (sender.corked === on) return;
    sender.corked = on;
    if (!on && sender.end > sender.next) this.#connection.wake();
  }

  /** @internal */
  get direct(): boolean {
    return this.#handler !== undefined && !this.#paused && !this.#giving;
  }

  /** @internal */
  data(bytes: Uint8Array): number {
    if (this.#handler === undefined) return 0;
    this.#giving = true;
    try {
      const taken = Math.min(Math.max(this.#handler.data(bytes), 0), bytes.length);
      if (taken < bytes.length) this.#paused = true;
      return taken;
    } finally {
      this.#giving = false;
      // It may have reset the connection, of which it hears when it has done.
      if (this.#over) this.#serve();
    }
  }

  /** @internal */
  arrived(): void {
    this.#serve();
  }

  /** @internal */
  acknowledged(): void {
    const { queue, unacknowledged } = this.#connection.sender;
    const writes = this.#writes;
    while (writes.length > 0 && writes[0]!.end <= unacknowledged) writes.shift()!.resolve();
    // Half of it is room worth hearing of.
    if (this.#wantsRoom && queue.length * 2 <= this.#sendBuffer) {
      this.#wantsRoom = false;
      this.#handler?.writable();
    }
  }

  /** @internal */
  established(): void {
    const opened = this.#opened;
    this.#opened = undefined;
    opened?.(undefined);
  }

  /** @internal */
  over(failure: Error | undefined): void {
    this.#over = true;
    this.#failure = failure;
    const opened = this.#opened;
    this.#opened = undefined;
    opened?.(failure);
    for (const { reject } of this.#writes.splice(0)) reject(failure ?? gone());
    this.#settle();
    this.#serve();
  }

  /** Hands over what there is, to whoever takes it. */
  #serve(): void {
    if (this.#giving || this.#serving) return;
    if (this.#handler === undefined) this.#serveReaders();
    else this.#serveHandler(this.#handler);
  }

  #serveReaders(): void {
    const { receiver } = this.#connection;
    while (this.#readers.length > 0) {
      if (receiver.unread > 0) {
        const bytes = receiver.peek();
        receiver.read(bytes.length, true);
        this.#readers.shift()!.resolve(bytes);
        this.#connection.windowMoved();
      } else if (receiver.finished || receiver.closed) {
        this.#readers.shift()!.resolve(undefined);
      } else if (this.#over) {
        this.#readers.shift()!.reject(this.#failure ?? gone());
      } else return;
    }
  }

  #serveHandler(handler: TcpHandler): void {
    const { receiver } = this.#connection;
    this.#serving = true;
    while (receiver.unread > 0 && !this.#paused && !receiver.closed && !this.#closing) {
      const taken = this.data(receiver.peek());
      // It may have reset the connection meanwhile.
      if (receiver.unread === 0) break;
      receiver.read(taken, false);
    }
    this.#serving = false;
    this.#connection.windowMoved();
    if (this.#closing) {
      this.#closing = false;
      this.#close();
    }
    if (receiver.finished && receiver.unread === 0 && !this.#toldEnd) {
      this.#toldEnd = true;
      if (!receiver.closed) handler.end();
    }
    if (this.#over && !this.#toldOver && (receiver.unread === 0 || receiver.closed)) {
      this.#toldOver = true;
      handler.closed(this.#failure);
    }
  }

  #checkOpen(): void {
    if (this.#connection.sender.ended) {
      throw new UsageError('BAD_STATE', 'this end of the connection was ended: nothing more can be sent');
    }
  }
}

const gone = (): HostError => new HostError('CONNECTION_RESET', 'the connection is over');
