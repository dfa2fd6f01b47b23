import type { OpenQueue } from '../../driver/queue.ts';
import { HostError } from '../../errors.ts';
import type { Receiver } from './receiver.ts';
import type { ConsoleSize } from './spec.ts';

/** The most bytes in one buffer of a transmitq. */
const bufferLength = 32_768;

/** Opens or closes the driver's end of a port; settles when the device has heard it. */
export type OpenEnd = (open: boolean) => Promise<void>;

/** One port of an open console: the guest's end of a two-way stream of bytes. */
export class OpenPort {
  readonly id: number;
  /** Called when the device tells the port's size, again and again. */
  onResize: ((size: ConsoleSize) => void) | undefined;
  /** Called when the device opens or closes its end. */
  onHostOpen: ((open: boolean) => void) | undefined;
  readonly #receiver: Receiver;
  readonly #transmitq: OpenQueue;
  readonly #openEnd: OpenEnd;
  #writing: Promise<void> = Promise.resolve();
  #name = '';
  #isConsole = false;
  #hostOpen = false;
  #size: ConsoleSize | undefined;
  #removed = false;

  /** @internal */
  constructor(id: number, receiver: Receiver, transmitq: OpenQueue, openEnd: OpenEnd) {
    this.id = id;
    this.#receiver = receiver;
    this.#transmitq = transmitq;
    this.#openEnd = openEnd;
  }

  /** What the device calls the port; empty until it does. */
  get name(): string {
    return this.#name;
  }

  /** True when the device says that the port is for text. */
  get isConsole(): boolean {
    return this.#isConsole;
  }

  /** True while the device's end is open; what is written otherwise goes nowhere. */
  get hostOpen(): boolean {
    return this.#hostOpen;
  }

  /** `undefined` while the device has told none. */
  get size(): ConsoleSize | undefined {
    return this.#size;
  }

  /**
   * Opens this end, so that the device sends what it has. Ports for text are open from the start.
   *
   * @throws {HostError} DEVICE_GONE when the device is closed.
   */
  open(): Promise<void> {
    return this.#openEnd(true);
  }

  /** Closes this end: the device holds back what it has. */
  close(): Promise<void> {
    return this.#openEnd(false);
  }

  /**
   * Sends bytes; settles when the device has taken them. What several callers write is not mixed.
   *
   * @throws {HostError} DEVICE_GONE when the device is closed before; what `onFailure` is told, when it fails.
   */
  write(bytes: Uint8Array): Promise<void> {
    const send = (): Promise<void> => this.#send(bytes);
    const written = this.#writing.then(send, send);
    this.#writing = written;
    return written;
  }

  /**
   * The next bytes that the device sent, as many as came together; `undefined` when the port or the console
   * is gone. The device waits for a program that does not read.
   *
   * @throws what `onFailure` is told, when the device failed.
   */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.#receiver.read();
  }

  /** All that the device sends, until the port or the console is gone. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    for (let bytes = await this.read(); bytes !== undefined; bytes = await this.read()) yield bytes;
  }

  /** @internal */
  setName(name: string): void {
    this.#name = name;
  }

  /** @internal */
  setConsole(): void {
    this.#isConsole = true;
  }

  /** @internal */
  setHostOpen(open: boolean): void {
    if (this.#hostOpen === open) return;
    this.#hostOpen = open;
    this.onHostOpen?.(open);
  }

  /** @internal */
  setSize(size: ConsoleSize): void {
    this.#size = size;
    this.onResize?.(size);
  }

  /** @internal */
  remove(): void {
    this.#removed = true;
    this.setHostOpen(false);
  }

  async #send(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += bufferLength) {
      if (this.#removed) throw new HostError('DEVICE_GONE', `port ${this.id} was removed`);
      await this.#transmitq.request(bytes.subarray(at, at + bufferLength), 0);
    }
  }
}
