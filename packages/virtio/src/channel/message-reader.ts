import type { Descriptor } from './descriptors.ts';
import { closeAll } from './descriptors.ts';

/** How messages stand in a stream: one behind the other, and each begins with a header that tells how long it is. */
export interface Framing {
  /** Bytes. */
  readonly headerSize: number;
  /**
   * Bytes of the whole message, its header included, or why it can be none: nothing of the stream can be trusted then.
   * It must be bounded, since so much memory is set aside before the rest has come.
   */
  lengthOf(header: DataView): number | string;
}

/** Who gets whole messages. */
export interface MessageSink {
  /** The bytes and the descriptors of one message are the sink's from now on; it closes the descriptors. */
  message(bytes: Uint8Array<ArrayBuffer>, descriptors: readonly Descriptor[]): void;
  /** The stream holds what is no message. Nothing comes any more. */
  broken(why: string): void;
}

/** The most descriptors that come with one message: what Linux lets pass at once, its SCM_MAX_FD. */
export const mostDescriptors = 253;

/** Puts messages together from bytes that are cut anywhere: for the `received` of a channel's listener. */
export class MessageReader {
  readonly #framing: Framing;
  readonly #sink: MessageSink;
  readonly #header: Uint8Array;
  readonly #headerView: DataView;
  /** What is being filled; `undefined` while its length is not known. */
  #message: Uint8Array<ArrayBuffer> | undefined;
  /** Bytes of the message that have come. */
  #filled = 0;
  #descriptors: readonly Descriptor[] = [];
  #stopped = false;

  constructor(framing: Framing, sink: MessageSink) {
    this.#framing = framing;
    this.#sink = sink;
    this.#header = new Uint8Array(framing.headerSize);
    this.#headerView = new DataView(this.#header.buffer);
  }

  /**
   * Takes bytes of the stream, and descriptors that came with them. These belong to the message of the last byte: a
   * system may join what was sent before to what carries descriptors, but nothing behind that.
   */
  received(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    let rest = bytes;
    while (rest.length > 0 && !this.#stopped) {
      rest = rest.subarray(this.#fill(rest));
      if (this.#message === undefined || this.#filled < this.#message.length) continue;
      const whole = this.#message;
      const own = rest.length > 0 ? this.#descriptors : [...this.#descriptors, ...descriptors];
      this.#message = undefined;
      this.#filled = 0;
      this.#descriptors = [];
      this.#sink.message(whole, own);
      if (rest.length === 0) return;
    }
    if (this.#stopped) closeAll(descriptors);
    else if (descriptors.length > 0) this.#keep(descriptors);
  }

  /** True when a message has begun and is not whole. */
  get isWithinMessage(): boolean {
    return this.#filled > 0;
  }

  /** Drops what is not whole, and everything that still comes. */
  stop(): void {
    this.#stopped = true;
    this.#message = undefined;
    this.#filled = 0;
    closeAll(this.#descriptors);
    this.#descriptors = [];
  }

  /** Takes bytes of one header, or of one message; returns how many. */
  #fill(bytes: Uint8Array): number {
    const target = this.#message ?? this.#header;
    const taken = Math.min(bytes.length, target.length - this.#filled);
    target.set(bytes.subarray(0, taken), this.#filled);
    this.#filled += taken;
    if (this.#message === undefined && this.#filled === this.#header.length) this.#makeRoom();
    return taken;
  }

  /** For the message that has begun. Each takes one of the few that this process may have open. */
  #keep(descriptors: readonly Descriptor[]): void {
    this.#descriptors = [...this.#descriptors, ...descriptors];
    if (this.#descriptors.length <= mostDescriptors) return;
    this.stop();
    this.#sink.broken(`a message with more than ${mostDescriptors} descriptors`);
  }

  #makeRoom(): void {
    const length = this.#framing.lengthOf(this.#headerView);
    if (typeof length === 'string') {
      this.stop();
      this.#sink.broken(length);
      return;
    }
    this.#message = new Uint8Array(length);
    this.#message.set(this.#header);
  }
}
