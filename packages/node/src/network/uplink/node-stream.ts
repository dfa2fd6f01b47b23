import { createConnection, type Socket } from 'node:net';
import type { FailureReason, StreamEnd, StreamUser } from 'virtio/network';
import { failureReason } from './failure-reason.ts';

/** Bytes of a copy that is kept for the next one. */
const scratchSize = 65_536;
/** Bytes that one read takes at first, as Node's own do, and at most: where it took as many, more is likely to follow. */
const firstRead = 65_536;
const largestRead = 524_288;

/**
 * What sockets read into, one after the other: whoever is given bytes of it copies them. A buffer for each read is as much
 * garbage as there is traffic, and collecting that took longer than all the rest.
 */
const readBuffer = new Uint8Array(largestRead);
const readViews: readonly Uint8Array[] = [8, 4, 2, 1].map((part) =>
  readBuffer.subarray(0, largestRead / part),
);

/** A socket of TCP as one end of a stream. */
export class NodeStream implements StreamEnd {
  readonly #socket: Socket;
  /** What the kernel does not take at once is a copy, since what we are given is lent; one that it took serves again. */
  #scratch = new Uint8Array();
  #user: StreamEnd | undefined;
  /** It was told that more follows, and is to hear of it in this turn when nothing does. */
  #more = false;
  #looks = false;
  /** The other end waits for room. */
  #waiting = false;
  /** Nothing is told any more. */
  #over = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    // A socket that fails before there is somebody to tell must not end the process.
    socket.on('error', () => {});
  }

  /** Opens a socket to somewhere. */
  static connect(host: string, port: number): NodeStream {
    let next = 0;
    const callback = (length: number, buffer: Uint8Array): boolean => {
      const isFull = length === buffer.length;
      if (isFull) next = Math.min(next + 1, readViews.length - 1);
      return stream.#came(isFull ? buffer : readBuffer.subarray(0, length), isFull);
    };
    // Who sends much is read by large pieces; what many hold who send little is small.
    const onread = { buffer: () => readViews[next]!, callback };
    const socket = createConnection({ host, port, allowHalfOpen: true, noDelay: true, onread });
    const stream = new NodeStream(socket);
    return stream;
  }

  /** Takes over a socket that is paused, and half open when its other side ends. */
  static accepted(socket: Socket): NodeStream {
    const stream = new NodeStream(socket);
    socket.setNoDelay(true);
    // Node decides where such a socket reads to.
    socket.on('data', (chunk: Uint8Array) => {
      // Plain bytes: a Buffer is one of them that behaves otherwise.
      const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      if (!stream.#came(bytes, bytes.length === firstRead)) socket.pause();
    });
    return stream;
  }

  /** Calls once when it is gone. */
  onceClosed(call: () => void): void {
    this.#socket.once('close', call);
  }

  /** Tells the other end of everything from now on, which is also when an accepted socket begins to read. */
  tell(user: StreamEnd & Partial<Pick<StreamUser, 'opened' | 'failed'>>): void {
    const socket = this.#socket;
    this.#user = user;
    let opened = !socket.connecting;
    if (!opened) {
      socket.once('connect', () => {
        opened = true;
        if (!this.#over) user.opened?.();
      });
    }
    socket.once('end', () => {
      if (!this.#over) user.end();
    });
    socket.on('drain', () => {
      if (!this.#waiting) return;
      this.#waiting = false;
      if (!this.#over) user.room();
    });
    const lost = (reason: FailureReason): void => {
      if (this.#over) return;
      this.#over = true;
      if (opened || user.failed === undefined) user.abort(reason);
      else user.failed(reason);
    };
    socket.once('error', (error) => lost(failureReason(error)));
    socket.once('close', () => {
      // Both sides ended it, unless one of them did not.
      if (socket.readableEnded && socket.writableFinished) this.#over = true;
      lost('reset');
    });
    if (!socket.connecting) socket.resume();
  }

  /** Bytes were read. False when no more are to be read until `room`. */
  #came(bytes: Uint8Array, more: boolean): boolean {
    const user = this.#user;
    if (this.#over || user === undefined) return true;
    this.#more = more;
    if (more && !this.#looks) {
      this.#looks = true;
      setImmediate(() => {
        this.#looks = false;
        if (this.#more && !this.#over) user.flush?.();
      });
    }
    return user.write(bytes, more);
  }

  write(bytes: Uint8Array): boolean {
    if (bytes.length > this.#scratch.length) {
      this.#scratch = new Uint8Array(Math.max(scratchSize, bytes.length));
    }
    const copy = this.#scratch.subarray(0, bytes.length);
    copy.set(bytes);
    const room = this.give(copy);
    if (this.#socket.writableLength !== 0) this.#scratch = new Uint8Array();
    return room;
  }

  give(bytes: Uint8Array): boolean {
    const socket = this.#socket;
    if (!socket.writable) return true;
    // What the kernel took at once leaves room, whatever the stream says.
    if (socket.write(bytes) || socket.writableLength === 0) return true;
    this.#waiting = true;
    return false;
  }

  room(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  /** Closes the socket, whatever is under way. */
  destroy(): void {
    this.#socket.destroy();
  }

  abort(): void {
    this.#over = true;
    if (this.#socket.connecting) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }
}
