import type { Socket } from 'node:net';
import { HostError } from 'virtio/errors';
import { type Endpoint, type Link, noOffloads, type TakenOffloads } from 'virtio/link';
import { FrameReader, FrameWriter } from './frame-stream.ts';

/**
 * The end of a link that is a stream socket: what comes goes to whoever is at the socket's other end, each frame behind its
 * length, as QEMU has it. While there is no connection frames are lost, as without a cable.
 */
export class FrameSocket implements Endpoint {
  readonly takes: TakenOffloads = noOffloads;
  #link: Link | undefined;
  #socket: Socket | undefined;
  #reader = new FrameReader();
  #writer: FrameWriter | undefined;
  #failure: HostError | undefined;
  /** What the link had no room for. */
  #waiting: Uint8Array | undefined;
  #isReading = false;
  /** Room was told of while frames were given away. */
  #hasRoom = false;

  attached(link: Link): void {
    this.#link = link;
    this.#socket?.resume();
  }

  receive(frame: Uint8Array): boolean {
    return this.#writer?.add(frame) ?? true;
  }

  room(): void {
    this.#hasRoom = true;
    const bytes = this.#waiting;
    if (bytes === undefined || this.#isReading) return;
    this.#waiting = undefined;
    this.#read(bytes);
    if (this.#waiting === undefined) this.#socket?.resume();
  }

  /** Whether there is somebody at the other end. */
  get connected(): boolean {
    return this.#socket !== undefined;
  }

  /**
   * Takes a connection over, in place of the one there was.
   *
   * @param ended hears why it is over: nothing when the other end left, or we closed it
   */
  use(socket: Socket, ended: (error: HostError | undefined) => void): void {
    this.disconnect();
    this.#socket = socket;
    this.#failure = undefined;
    this.#reader = new FrameReader();
    this.#writer = new FrameWriter(
      (bytes, written) => void socket.write(bytes, (error) => error == null && written()),
      () => this.#link?.room(),
    );
    socket.on('data', (bytes: Buffer) => {
      if (socket !== this.#socket) return;
      this.#read(bytes);
      if (this.#waiting !== undefined) socket.pause();
    });
    socket.on('error', (cause) => {
      if (socket !== this.#socket) return;
      this.#failure ??= new HostError('CONNECTION_RESET', `the connection broke off: ${cause.message}`, {
        cause,
      });
    });
    socket.on('close', () => {
      const failure = socket === this.#socket ? this.#failure : undefined;
      if (socket === this.#socket) this.#forget();
      ended(failure);
    });
    if (this.#link === undefined) socket.pause();
  }

  /** Lets go of the connection, if there is one. */
  disconnect(): void {
    const socket = this.#socket;
    this.#forget();
    socket?.destroy();
  }

  #read(bytes: Uint8Array): void {
    this.#isReading = true;
    let rest = bytes;
    try {
      do {
        this.#hasRoom = false;
        rest = rest.subarray(this.#reader.push(rest, this.#take));
      } while (this.#hasRoom && this.#isHeldBack(rest));
      if (this.#isHeldBack(rest)) this.#waiting = rest;
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      this.#failure = error;
      this.#socket?.destroy();
    } finally {
      this.#isReading = false;
    }
  }

  #isHeldBack(rest: Uint8Array): boolean {
    return rest.length > 0 || this.#reader.holdsFrame;
  }

  readonly #take = (frame: Uint8Array): boolean => this.#link?.send(frame) ?? true;

  #forget(): void {
    this.#socket = undefined;
    this.#waiting = undefined;
    const writer = this.#writer;
    this.#writer = undefined;
    // Whoever waits for room would wait for ever: what comes from now on is lost.
    if (writer?.isFull === true) this.#link?.room();
  }
}
