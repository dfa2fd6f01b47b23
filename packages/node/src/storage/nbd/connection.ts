import { createConnection, type Socket } from 'node:net';
import { HostError } from 'virtio/errors';
import type { NbdAddress } from './uri.ts';

/** Bytes that came and that nobody has read: the socket is paused above. */
const mostUnread = 4 * 2 ** 20;
/** Milliseconds that a server has to take the last of what was sent. */
const farewell = 2000;

/** A stream of bytes to a server, read as they are needed. When it breaks, all who wait on it hear why. */
export class Connection {
  readonly name: string;
  readonly #socket: Socket;
  readonly #parts: Uint8Array[] = [];
  #unread = 0;
  #waiting: { readonly enough: () => void; readonly failed: (error: HostError) => void } | undefined;
  #error: HostError | undefined;
  readonly #onEnd: (error: HostError) => void;

  private constructor(name: string, socket: Socket, onEnd: (error: HostError) => void) {
    this.name = name;
    this.#socket = socket;
    this.#onEnd = onEnd;
    socket.on('data', (part: Uint8Array) => this.#received(part));
    socket.on('error', (cause) => this.fail(this.#gone(cause)));
    socket.on('close', () => this.fail(this.#gone()));
  }

  /**
   * @param name what errors call the server.
   * @param patience milliseconds until the server has to have answered.
   * @param onEnd told once why the connection is no more.
   * @throws {HostError} NOT_FOUND when nobody listens there, else IO_ERROR.
   */
  static async open(
    name: string,
    address: NbdAddress['socket'],
    patience: number,
    onEnd: (error: HostError) => void,
  ): Promise<Connection> {
    const socket = createConnection({ ...address, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        socket.destroy();
        reject(new HostError('IO_ERROR', `${name}: the server does not answer`));
      }, patience);
      socket.once('connect', () => {
        clearTimeout(timer);
        resolve();
      });
      socket.once('error', (cause: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        const nobody = ['ENOENT', 'ECONNREFUSED', 'ENOTFOUND'].includes(cause.code ?? '');
        const what = nobody ? 'nobody listens there' : 'the server cannot be reached';
        reject(
          new HostError(nobody ? 'NOT_FOUND' : 'IO_ERROR', `${name}: ${what} (${cause.code})`, { cause }),
        );
      });
    });
    return new Connection(name, socket, onEnd);
  }

  /** Why nothing comes any more; `undefined` while something may. */
  get error(): HostError | undefined {
    return this.#error;
  }

  /** Fills `target` with what comes next; in the same turn when it is there already. One reader at a time. */
  read(target: Uint8Array): void | Promise<void> {
    if (this.#unread >= target.length) return this.#take(target);
    return this.#readLater(target);
  }

  send(...parts: readonly Uint8Array[]): void {
    if (this.#error !== undefined) return;
    this.#socket.cork();
    for (const part of parts) if (part.length > 0) this.#socket.write(part);
    this.#socket.uncork();
  }

  /** The server broke the protocol: nothing it says from here on means anything. */
  violation(what: string): HostError {
    const error = new HostError('IO_ERROR', `${this.name}: the server broke the protocol: ${what}`);
    this.fail(error);
    return error;
  }

  fail(error: HostError): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#socket.destroy();
    this.#parts.length = 0;
    this.#unread = 0;
    this.#waiting?.failed(error);
    this.#waiting = undefined;
    this.#onEnd(error);
  }

  /** Says goodbye, and waits a moment until it is sent. */
  async close(goodbye: Uint8Array): Promise<void> {
    if (this.#error === undefined) {
      this.#error = new HostError('IO_ERROR', `${this.name} is closed`);
      this.#waiting?.failed(this.#error);
      this.#waiting = undefined;
      this.#socket.removeAllListeners('data');
      this.#socket.resume();
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, farewell);
        this.#socket.once('close', () => {
          clearTimeout(timer);
          resolve();
        });
        this.#socket.end(goodbye);
      });
    }
    this.#socket.destroy();
  }

  async #readLater(target: Uint8Array): Promise<void> {
    for (let done = 0; done < target.length; ) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#unread === 0) {
        await new Promise<void>((enough, failed) => {
          this.#waiting = { enough, failed };
        });
        continue;
      }
      const count = Math.min(this.#unread, target.length - done);
      this.#take(target.subarray(done, done + count));
      done += count;
    }
  }

  #take(target: Uint8Array): void {
    for (let done = 0; done < target.length; ) {
      const part = this.#parts[0]!;
      const count = Math.min(part.length, target.length - done);
      target.set(count === part.length ? part : part.subarray(0, count), done);
      if (count === part.length) this.#parts.shift();
      else this.#parts[0] = part.subarray(count);
      done += count;
    }
    this.#unread -= target.length;
    if (this.#unread < mostUnread && this.#socket.isPaused()) this.#socket.resume();
  }

  #received(part: Uint8Array): void {
    this.#parts.push(part);
    this.#unread += part.length;
    if (this.#unread >= mostUnread) this.#socket.pause();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.enough();
  }

  #gone(cause?: Error): HostError {
    return new HostError('IO_ERROR', `${this.name}: the server is gone`, { cause });
  }
}
