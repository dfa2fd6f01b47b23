import type { Socket } from 'node:net';
import type { FailureReason, StreamEnd, StreamUser } from 'virtio/network';
import { failureReason } from './failure-reason.ts';

/** Bytes of a copy that is kept for the next one. */
const scratchSize = 65_536;

/** A socket of TCP as one end of a stream. */
export class NodeStream implements StreamEnd {
  readonly #socket: Socket;
  /** What the kernel does not take at once is a copy, since what we are given is lent; one that it took serves again. */
  #scratch = new Uint8Array();
  /** The other end waits for room. */
  #waiting = false;
  /** Nothing is told any more. */
  #over = false;

  /** Takes over a socket that is half open when its other side ends. `onClose` is called when it is gone. */
  constructor(socket: Socket, onClose: () => void) {
    this.#socket = socket;
    socket.once('close', onClose);
    // A socket that fails before there is somebody to tell must not end the process.
    socket.on('error', () => {});
  }

  /** Tells the other end of everything from now on. */
  tell(user: StreamEnd & Partial<Pick<StreamUser, 'opened' | 'failed'>>): void {
    const socket = this.#socket;
    let opened = !socket.connecting;
    if (!opened) {
      socket.once('connect', () => {
        opened = true;
        if (!this.#over) user.opened?.();
      });
    }
    socket.on('data', (chunk: Uint8Array) => {
      // Plain bytes: a Buffer is one of them that behaves otherwise.
      const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      if (!this.#over && !user.give(bytes)) socket.pause();
    });
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

  abort(): void {
    this.#over = true;
    if (this.#socket.connecting) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }
}
