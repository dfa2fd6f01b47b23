import { createConnection, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { HostError } from 'virtio/errors';
import { connectionOptions, type NbdTls } from './tls.ts';
import type { NbdAddress } from './uri.ts';

/** Bytes that came and that nobody has read: the socket is paused above. */
const mostUnread = 4 * 2 ** 20;
/** Milliseconds that a server has to take the last of what was sent. */
const farewell = 2000;

/** A stream of bytes to a server, read as they are needed. When it breaks, all who wait on it hear why. */
export class Connection {
  readonly name: string;
  readonly #host: string | undefined;
  #socket: Socket;
  readonly #parts: Uint8Array[] = [];
  #unread = 0;
  #waiting: { readonly enough: () => void; readonly failed: (error: HostError) => void } | undefined;
  #error: HostError | undefined;
  #lost = false;
  #left: Promise<void> | undefined;
  readonly #onEnd: (error: HostError) => void;

  private constructor(
    name: string,
    host: string | undefined,
    socket: Socket,
    onEnd: (error: HostError) => void,
  ) {
    this.name = name;
    this.#host = host;
    this.#socket = socket;
    this.#onEnd = onEnd;
    this.#hear(socket);
  }

  /**
   * @param name what errors call the server.
   * @param patience milliseconds until the server has to have answered.
   * @param onEnd told once why the connection is no more.
   * @param stop breaks it off.
   * @throws {HostError} NOT_FOUND when nobody listens there, else IO_ERROR.
   */
  static async open(
    name: string,
    address: NbdAddress['socket'],
    patience: number,
    onEnd: (error: HostError) => void,
    stop?: AbortSignal,
  ): Promise<Connection> {
    // A host that vanished is found out by asking it, while nothing else goes there.
    const alive = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 10_000 };
    const socket = createConnection({ ...address, ...alive, ...(stop && { signal: stop }) });
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
    return new Connection(name, 'host' in address ? address.host : undefined, socket, onEnd);
  }

  /**
   * From here on all is encrypted. The server waits for it.
   *
   * @throws {HostError} IO_ERROR when the two find no way, or the server is not who it has to be.
   */
  async startTls(tls: NbdTls): Promise<void> {
    // Whatever was said before cannot be believed, and must not be taken for what is said under encryption.
    if (this.#unread > 0) throw this.violation('it speaks before the handshake of TLS');
    const plain = this.#socket;
    for (const event of ['data', 'close', 'error']) plain.removeAllListeners(event);
    plain.on('error', () => {}); // the one around it has it too
    await new Promise<void>((resolve, reject) => {
      const refused = (cause: Error): void => {
        const error = new HostError('IO_ERROR', `${this.name}: no TLS with the server: ${cause.message}`, {
          cause,
        });
        this.fail(error);
        reject(error);
      };
      try {
        this.#socket = connectTls({ ...connectionOptions(tls, this.#host), socket: plain });
      } catch (error) {
        // What stands in a certificate is looked at here.
        refused(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      this.#waiting = { enough: () => {}, failed: reject };
      this.#socket.once('secureConnect', () => {
        this.#waiting = undefined;
        this.#socket.off('error', refused);
        resolve();
      });
      this.#socket.once('error', refused);
      this.#hear(this.#socket);
    });
  }

  /** Why nothing comes any more; `undefined` while something may. */
  get error(): HostError | undefined {
    return this.#error;
  }

  /** True when the connection broke, and the server did nothing else that it must not. */
  get lost(): boolean {
    return this.#lost;
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

  /** The connection is of no use any more, and another one may be. */
  lose(error: HostError): void {
    if (this.#error === undefined) this.#lost = true;
    this.fail(error);
  }

  fail(error: HostError): void {
    if (this.#error !== undefined) return;
    this.#socket.destroy();
    this.#stop(error);
    this.#onEnd(error);
  }

  /** The server has asked to be left. Another connection may be of use. */
  leave(error: HostError, goodbye: Uint8Array): void {
    if (this.#error !== undefined) return;
    this.#lost = true;
    this.#left = this.#depart(error, goodbye);
    this.#onEnd(error);
  }

  /** Says goodbye, and waits a moment until it is sent. */
  async close(goodbye: Uint8Array): Promise<void> {
    if (this.#error === undefined) {
      this.#left = this.#depart(new HostError('IO_ERROR', `${this.name} is closed`), goodbye);
    }
    await this.#left;
  }

  async #depart(error: HostError, goodbye: Uint8Array): Promise<void> {
    this.#stop(error);
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
    this.#socket.destroy();
  }

  #stop(error: HostError): void {
    this.#error = error;
    this.#parts.length = 0;
    this.#unread = 0;
    this.#waiting?.failed(error);
    this.#waiting = undefined;
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

  #hear(socket: Socket): void {
    socket.on('data', (part: Uint8Array) => this.#received(part));
    socket.on('error', (cause) => this.lose(this.#gone(cause)));
    socket.on('close', () => this.lose(this.#gone()));
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

  #gone(cause?: NodeJS.ErrnoException): HostError {
    const why = cause === undefined ? '' : ` (${cause.code ?? cause.message})`;
    return new HostError('IO_ERROR', `${this.name}: the server is gone${why}`, { cause });
  }
}
