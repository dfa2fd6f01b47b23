import { type HostError, UsageError } from 'virtio/errors';
import type { Endpoint, Link, Offload, TakenOffloads } from 'virtio/link';
import { failure } from '../../host/failure.ts';
import { linux } from '../../host/platform.ts';
import { mostQueues, offerOffloads, offloadBits, openTapFiles, type TapFile } from './device-file.ts';
import { flowOf } from './flow.ts';
import { headerLength, type ReadOffload, writeOffload } from './header.ts';
import { TapQueue, type TapReader } from './tap-queue.ts';

/** Bytes of the largest frame that goes either way, segments still to be cut. */
const longestFrame = 65_536 + 4096;

/** An interface of this machine's kernel as the end of a link. */
export interface Tap {
  readonly endpoint: Endpoint;
  /** The interface's name. */
  readonly name: string;
  /** Lets go of it; one that was made by opening it is gone then. Safe to call twice. */
  close(): void;
}

/** How a tap interface is opened, and who hears of it. */
export interface TapOptions {
  /** Queues of the kernel's, each with a descriptor: 1 to 256; 1 unless told. Frames of a flow stay in one of them. */
  readonly queues?: number;
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
 * @throws {UsageError} BAD_ARGUMENT for what is no name of an interface, or no number of queues.
 */
export function openTap(name: string, options: TapOptions = {}): Tap {
  const { queues = 1 } = options;
  if (!Number.isInteger(queues) || queues < 1 || queues > mostQueues) {
    throw new UsageError('BAD_ARGUMENT', `${name} cannot have ${queues} queues: give 1 to ${mostQueues}`);
  }
  const files = openTapFiles(name, queues);
  const endpoint = new TapEndpoint(files, options);
  return { endpoint, name: files[0].name, close: () => endpoint.close() };
}

class TapEndpoint implements Endpoint, TapReader {
  readonly takes: TakenOffloads;
  readonly #queues: readonly TapQueue[];
  readonly #outgoing = new Uint8Array(headerLength + longestFrame);
  readonly #outgoingHeader = new DataView(this.#outgoing.buffer, 0, headerLength);
  readonly #options: TapOptions;
  #offered = 0;
  #link: Link | undefined;
  /** The frame for which there was no room, and what is left to do to it. No queue is read meanwhile. */
  #waiting: { readonly frame: Uint8Array; readonly offload: ReadOffload } | undefined;
  /** Room was told of while a frame was given away. */
  #hasRoom = false;
  #isClosed = false;

  constructor(files: readonly [TapFile, ...TapFile[]], options: TapOptions) {
    this.#options = options;
    this.takes = files[0].takes;
    this.#queues = files.map((file) => new TapQueue(file, longestFrame, this));
  }

  attached(link: Link): void {
    this.#link = link;
    this.#start();
  }

  receive(frame: Uint8Array, offload: Offload): boolean {
    // One that is too long, and one that the kernel does not take, as when the interface is down, are lost.
    if (this.#isClosed || frame.length > longestFrame) return true;
    writeOffload(this.#outgoingHeader, offload);
    this.#outgoing.set(frame, headerLength);
    const count = this.#queues.length;
    // The kernel gives a flow's answers to the queue that the flow came by.
    const queue = this.#queues[count === 1 ? 0 : flowOf(frame) % count]!;
    linux().write(queue.fd, this.#outgoing, headerLength + frame.length);
    return true;
  }

  room(): void {
    this.#hasRoom = true;
    const waiting = this.#waiting;
    if (waiting === undefined || this.#isClosed) return;
    this.#waiting = undefined;
    if (this.give(waiting.frame, waiting.offload)) this.#start();
  }

  close(): void {
    this.#isClosed = true;
    for (const queue of this.#queues) queue.close();
  }

  /** The other end may change its mind, as a driver does that starts. */
  beforeFrames(): void {
    const bits = offloadBits(this.#link?.takes ?? this.takes);
    if (bits === this.#offered) return;
    this.#offered = bits;
    offerOffloads(this.#queues[0]!.fd, bits);
  }

  give(frame: Uint8Array, offload: ReadOffload): boolean {
    do {
      this.#hasRoom = false;
      if (this.#link?.send(frame, offload) !== false) return true;
    } while (this.#hasRoom);
    this.#waiting = { frame, offload };
    this.#stop();
    return false;
  }

  gone(result: number): void {
    this.#stop();
    this.#options.onError?.(failure(result, 'the tap interface is gone'));
  }

  #start(): void {
    for (const queue of this.#queues) queue.start();
  }

  #stop(): void {
    for (const queue of this.#queues) queue.stop();
  }
}
