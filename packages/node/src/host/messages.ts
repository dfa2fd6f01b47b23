import { endianness } from 'node:os';
import { mostDescriptors } from 'virtio/channel';
import { systemCalls } from '../ffi/files.ts';
import { linux } from './platform.ts';

const MSG_CTRUNC = 0x8;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;

/** Bytes that go in one call. */
export const messageLength: number = 64 * 1024;

/** Sizes and places in words of 32 bits: `struct cmsghdr` and `struct msghdr`, where pointers have 64. */
const controlHeader = 4;
const controlWords = controlHeader + mostDescriptors + 1;
const headerWords = 14;
/** The half of a 64-bit number that holds small ones. */
const low = endianness() === 'LE' ? 0 : 1;
const field = {
  vectors: 4,
  vectorCount: 6 + low,
  control: 8,
  controlLength: 10 + low,
  flags: 12,
} as const;

/**
 * A message with descriptors in it, as sendmsg(2) and recvmsg(2) have it: `struct msghdr`, one vector, and room for the
 * bytes and the descriptors, at addresses that stay.
 */
class Message {
  readonly bytes: Uint8Array;
  readonly #header: Int32Array;
  readonly #headerBytes: Uint8Array;
  readonly #vector: Int32Array;
  readonly #control: Int32Array;

  constructor() {
    const bytes = new ArrayBuffer(messageLength);
    const control = new ArrayBuffer(4 * controlWords);
    const vector = new ArrayBuffer(16);
    const header = new ArrayBuffer(4 * headerWords);
    const address = (buffer: ArrayBuffer): bigint => systemCalls().addressOf(buffer);
    new BigUint64Array(vector)[0] = address(bytes);
    const pointers = new BigUint64Array(header);
    pointers[field.vectors / 2] = address(vector);
    pointers[field.control / 2] = address(control);
    this.bytes = new Uint8Array(bytes);
    this.#header = new Int32Array(header);
    this.#headerBytes = new Uint8Array(header);
    this.#vector = new Int32Array(vector);
    this.#control = new Int32Array(control);
    this.#header[field.vectorCount] = 1;
  }

  /** Sends the first `length` of `bytes`; what the call gave. */
  send(fd: number, length: number, fds: readonly number[]): number {
    this.#vector[2 + low] = length;
    this.#header[field.controlLength] = 0;
    if (fds.length > 0) {
      // The length of what is in it; the room that it takes is rounded up to whole words of 64 bits.
      this.#control[low] = 4 * (controlHeader + fds.length);
      this.#control[1 - low] = 0;
      this.#control[2] = SOL_SOCKET;
      this.#control[3] = SCM_RIGHTS;
      this.#control.set(fds, controlHeader);
      this.#header[field.controlLength] = 8 * Math.ceil((controlHeader + fds.length) / 2);
    }
    return linux().sendMessage(fd, this.#headerBytes, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  /** Fills `bytes`; what the call gave. Descriptors that came too are put into `fds`. */
  receive(fd: number, fds: number[]): number {
    this.#vector[2 + low] = messageLength;
    this.#header[field.controlLength] = 4 * controlWords;
    const count = linux().receiveMessage(fd, this.#headerBytes, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (count >= 0) this.#takeDescriptors(fds);
    return count;
  }

  /** Descriptors were lost on the way: this process may have too many open. */
  get truncated(): boolean {
    return ((this.#header[field.flags] ?? 0) & MSG_CTRUNC) !== 0;
  }

  #takeDescriptors(fds: number[]): void {
    const end = (this.#header[field.controlLength] ?? 0) / 4;
    for (let at = 0; at + controlHeader <= end; ) {
      const words = (this.#control[at + low] ?? 0) / 4;
      if (words < controlHeader) return;
      if (this.#control[at + 2] === SOL_SOCKET && this.#control[at + 3] === SCM_RIGHTS) {
        fds.push(...this.#control.subarray(at + controlHeader, Math.min(at + words, end)));
      }
      at += 2 * Math.ceil(words / 2);
    }
  }
}

let outgoing: Message | undefined;
let incoming: Message | undefined;

/**
 * Sends what fits of `bytes`, from `start` on, and `fds` with the first of them. Gives how many went, or minus an errno.
 */
export function sendMessage(fd: number, bytes: Uint8Array, start: number, fds: readonly number[]): number {
  outgoing ??= new Message();
  const length = Math.min(messageLength, bytes.length - start);
  outgoing.bytes.set(length === bytes.length ? bytes : bytes.subarray(start, start + length));
  return outgoing.send(fd, length, fds);
}

/** What `receiveMessage` got. It lasts until the next call. */
export interface ReceivedMessage {
  /** How many bytes there are; 0 at the end of the stream; minus an errno. */
  readonly count: number;
  readonly bytes: Uint8Array;
  /** Descriptors that are open in this process now. */
  readonly fds: readonly number[];
  /** Some of the descriptors could not be had. */
  readonly truncated: boolean;
}

export function receiveMessage(fd: number): ReceivedMessage {
  incoming ??= new Message();
  const fds: number[] = [];
  const count = incoming.receive(fd, fds);
  const bytes = incoming.bytes.subarray(0, Math.max(0, count));
  return { count, bytes, fds, truncated: count >= 0 && incoming.truncated };
}
