import type { HostError } from 'virtio/errors';
import type { Endpoint, Link, Offload, TakenOffloads } from 'virtio/link';
import { type Poller, pollEvents } from '../../ffi/system-calls.ts';
import { failure, interrupted, tryAgain } from '../../host/failure.ts';
import { linux, pollerFor } from '../../host/platform.ts';
import { offerOffloads, offloadBits, openTapFile, type TapFile } from './device-file.ts';
import { headerLength, ReadOffload, writeOffload } from './header.ts';

/** Bytes of the largest frame that goes either way, segments still to be cut. */
const longestFrame = 65_536 + 4096;
/** Frames that are taken before others have their turn. */
const mostAtOnce = 64;

/** An interface of this machine's kernel as the end of a link. */
export interface Tap {
  readonly endpoint: Endpoint;
  /** The interface's name. */
  readonly name: string;
  /** Lets go of it; one that was made by opening it is gone then. Safe to call twice. */
  close(): void;
}

/** Who hears of a tap interface. */
export interface TapOptions {
  /** It gives no more frames: somebody has removed it. */
  readonly onError?: (error: HostError) => void;
}

/**
 * Opens a tap interface of Linux, which is made if it is not there and may be made. What is sent into the link comes out of the
 * interface, and the other way round; checksums and segments are left to the kernel, and to the link's other end. Its
 * addresses, and that it is up, are `ip`'s to say.
 *
 * @throws {HostError} NOT_FOUND where there are none, or for want of the right to it; IN_USE when another program has it;
 *   IO_ERROR on other systems.
 * @throws {UsageError} BAD_ARGUMENT for what is no name of an interface.
 */
export function openTap(name: string, options: TapOptions = {}): Tap {
  const file = openTapFile(name);
  const endpoint = new TapEndpoint(file, options);
  return { endpoint, name: file.name, close: () => endpoint.close() };
}

class TapEndpoint implements Endpoint {
  readonly takes: TakenOffloads;
  readonly #file: TapFile;
  readonly #poller: Poller;
  readonly #incoming = new Uint8Array(headerLength + longestFrame);
  readonly #incomingHeader = new DataView(this.#incoming.buffer, 0, headerLength);
  readonly #outgoing = new Uint8Array(headerLength + longestFrame);
  readonly #outgoingHeader = new DataView(this.#outgoing.buffer, 0, headerLength);
  readonly #offload = new ReadOffload();
  readonly #options: TapOptions;
  #offered = 0;
  #link: Link | undefined;
  /** The frame in `incoming` for which there was no room. */
  #waiting: Uint8Array | undefined;
  /** Room was told of while a frame was given away. */
  #hasRoom = false;
  #isClosed = false;

  constructor(file: TapFile, options: TapOptions) {
    this.#file = file;
    this.#options = options;
    this.takes = file.takes;
    this.#poller = pollerFor(file.fd, () => this.#ready());
  }

  attached(link: Link): void {
    this.#link = link;
    if (!this.#isClosed) this.#poller.start(pollEvents.READABLE);
  }

  receive(frame: Uint8Array, offload: Offload): boolean {
    // One that is too long, and one that the kernel does not take, as when the interface is down, are lost.
    if (this.#isClosed || frame.length > longestFrame) return true;
    writeOffload(this.#outgoingHeader, offload);
    this.#outgoing.set(frame, headerLength);
    linux().write(this.#file.fd, this.#outgoing, headerLength + frame.length);
    return true;
  }

  room(): void {
    this.#hasRoom = true;
    const frame = this.#waiting;
    if (frame === undefined || this.#isClosed) return;
    this.#waiting = undefined;
    if (this.#give(frame)) this.#poller.start(pollEvents.READABLE);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#poller.close();
    this.#file.close();
  }

  #ready(): void {
    if (this.#link === undefined) return;
    this.#offer(this.#link.takes);
    for (let count = 0; count < mostAtOnce && !this.#isClosed; count++) {
      const length = linux().read(this.#file.fd, this.#incoming, this.#incoming.length);
      if (length === tryAgain || length === interrupted) return;
      if (length <= 0) {
        this.#poller.stop();
        this.#options.onError?.(failure(length, 'the tap interface is gone'));
        return;
      }
      if (length <= headerLength || !this.#offload.read(this.#incomingHeader)) continue;
      if (this.#give(this.#incoming.subarray(headerLength, length))) continue;
      this.#poller.stop();
      return;
    }
  }

  /** False when it has to wait for room. */
  #give(frame: Uint8Array): boolean {
    do {
      this.#hasRoom = false;
      if (this.#link?.send(frame, this.#offload) !== false) return true;
    } while (this.#hasRoom);
    this.#waiting = frame;
    return false;
  }

  /** The other end may change its mind, as a driver does that starts. */
  #offer(takes: TakenOffloads): void {
    const bits = offloadBits(takes);
    if (bits === this.#offered) return;
    this.#offered = bits;
    offerOffloads(this.#file.fd, bits);
  }
}
