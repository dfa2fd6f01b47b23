import { type Poller, pollEvents } from '../../ffi/system-calls.ts';
import { interrupted, tryAgain } from '../../host/failure.ts';
import { linux, pollerFor } from '../../host/platform.ts';
import type { TapFile } from './device-file.ts';
import { headerLength, ReadOffload } from './header.ts';

/** Frames that are taken before others have their turn. */
const mostAtOnce = 64;

/** Who takes what comes out of a queue. */
export interface TapReader {
  /** A queue has frames. */
  beforeFrames(): void;
  /** False when there is no room: the frame is kept, and no queue is to be read until it is given again. */
  give(frame: Uint8Array, offload: ReadOffload): boolean;
  /** It gives no more frames; `result` is what reading gave. */
  gone(result: number): void;
}

/** One queue of a tap interface: a descriptor, and the frame in hand. */
export class TapQueue {
  readonly fd: number;
  readonly #file: TapFile;
  readonly #reader: TapReader;
  readonly #poller: Poller;
  readonly #bytes: Uint8Array;
  readonly #header: DataView;
  readonly #offload = new ReadOffload();
  #isClosed = false;

  /** @param longest bytes of the longest frame */
  constructor(file: TapFile, longest: number, reader: TapReader) {
    this.fd = file.fd;
    this.#file = file;
    this.#reader = reader;
    this.#bytes = new Uint8Array(headerLength + longest);
    this.#header = new DataView(this.#bytes.buffer, 0, headerLength);
    this.#poller = pollerFor(file.fd, () => this.#ready());
  }

  start(): void {
    if (!this.#isClosed) this.#poller.start(pollEvents.READABLE);
  }

  stop(): void {
    if (!this.#isClosed) this.#poller.stop();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#poller.close();
    this.#file.close();
  }

  #ready(): void {
    this.#reader.beforeFrames();
    for (let count = 0; count < mostAtOnce && !this.#isClosed; count++) {
      const length = linux().read(this.fd, this.#bytes, this.#bytes.length);
      if (length === tryAgain || length === interrupted) return;
      if (length <= 0) {
        this.#reader.gone(length);
        return;
      }
      if (length <= headerLength || !this.#offload.read(this.#header)) continue;
      if (!this.#reader.give(this.#bytes.subarray(headerLength, length), this.#offload)) return;
    }
  }
}
