import type { TcpHandler, TcpStream } from './tcp/index.ts';
import type { FailureReason, StreamEnd } from './uplink.ts';

/** Of pieces as large as this the small ends may wait for one another; what is smaller goes as it comes. */
const largePiece = 65_536;

/**
 * A guest's connection and the stream outside that belongs to it, joined: bytes both ways without a promise, each side held
 * back by the other, each half ending by itself. This is the end that the stream outside sees. Of what comes from there at
 * most one piece is held.
 */
export class TcpFlow implements StreamEnd {
  /** The stream outside. Set before it is used. */
  far: StreamEnd | undefined;
  #stream: TcpStream | undefined;
  /** The stream outside has room. */
  #farReady = true;
  /** What the guest's connection had no room for; the stream outside waits until it is gone. */
  #held: Uint8Array | undefined;
  /** The stream outside was told to wait. */
  #farWaits = false;
  /** The stream outside sends nothing more. */
  #ended = false;
  #over = false;
  readonly #onOver: () => void;

  /** `onOver` is called once, when neither side has anything more to say. */
  constructor(onOver: () => void) {
    this.#onOver = onOver;
  }

  get over(): boolean {
    return this.#over;
  }

  /** The guest's connection is there. What came from outside before is sent. */
  join(stream: TcpStream): void {
    if (this.#over) {
      stream.reset();
      return;
    }
    this.#stream = stream;
    stream.handle(this.#guest);
    this.#flush();
  }

  /** Ends the stream outside, as there is no guest's connection. */
  fail(reason: FailureReason): void {
    if (this.#over) return;
    this.#finish();
    this.far?.abort(reason);
  }

  write(bytes: Uint8Array, more = false): boolean {
    if (this.#over || this.#ended) return true;
    const stream = this.#stream;
    if (stream === undefined || this.#held !== undefined) this.#hold(bytes.slice());
    else {
      stream.nagle(bytes.length >= largePiece);
      if (more) stream.cork(true);
      const room = stream.put(bytes);
      if (!more) stream.cork(false);
      if (room) return true;
    }
    this.#farWaits = true;
    return false;
  }

  give(bytes: Uint8Array): boolean {
    if (this.#over || this.#ended || bytes.length === 0) return true;
    this.#stream?.nagle(bytes.length >= largePiece);
    if (this.#held === undefined && this.#stream?.give(bytes) === true) return true;
    this.#hold(bytes);
    this.#farWaits = true;
    return false;
  }

  flush(): void {
    if (this.#over) return;
    this.#stream?.nagle(false);
    this.#stream?.cork(false);
  }

  room(): void {
    this.#farReady = true;
    if (!this.#over) this.#stream?.resume();
  }

  end(): void {
    if (this.#ended || this.#over) return;
    this.#ended = true;
    if (this.#held === undefined) this.#stream?.end();
  }

  abort(_reason: FailureReason): void {
    if (this.#over) return;
    this.#finish();
    this.#stream?.reset();
  }

  /** What the guest's connection says. */
  readonly #guest: TcpHandler = {
    data: (bytes) => {
      if (!this.#farReady) return 0;
      this.#farReady = this.far!.write(bytes);
      return bytes.length;
    },
    end: () => {
      if (!this.#over) this.far!.end();
    },
    writable: () => this.#flush(),
    closed: (failure) => {
      if (this.#over) return;
      this.#finish();
      if (failure !== undefined) this.far!.abort('reset');
    },
  };

  /** Keeps what a writer wrote who does not wait for room, behind what is held. */
  #hold(bytes: Uint8Array): void {
    const held = this.#held;
    if (held === undefined) {
      this.#held = bytes;
      return;
    }
    const both = new Uint8Array(held.length + bytes.length);
    both.set(held);
    both.set(bytes, held.length);
    this.#held = both;
  }

  #flush(): void {
    const [stream, held] = [this.#stream, this.#held];
    if (stream === undefined || this.#over) return;
    if (held !== undefined) {
      if (!stream.give(held)) return;
      this.#held = undefined;
    }
    if (this.#farWaits && !this.#ended) {
      this.#farWaits = false;
      this.far?.room();
    }
    // `room` may have had more written.
    if (this.#ended && this.#held === undefined && !this.#over) stream.end();
  }

  #finish(): void {
    this.#over = true;
    this.#held = undefined;
    this.#onOver();
  }
}
