import { HostError } from 'virtio/errors';

/** Bytes ahead of each frame: its length, big-endian. */
const lengthBytes = 4;

/** Bytes of the longest frame that QEMU takes from a stream. */
export const longestFrame: number = 65_536 + 4096;

/** An Ethernet header: less than that is no frame. */
const shortestFrame = 14;

/** Cuts frames out of a stream of bytes. What lies whole in the bytes at hand is not copied. */
export class FrameReader {
  /** A frame that came in pieces, its length ahead of it. */
  readonly #pieces = new Uint8Array(lengthBytes + longestFrame);
  readonly #header = new DataView(this.#pieces.buffer);
  /** Bytes of it that are there. */
  #have = 0;

  /** A whole frame for which there was no room, of which the bytes at hand have nothing any more. */
  get holdsFrame(): boolean {
    return this.#isWhole();
  }

  /**
   * Gives frames to `take`, which lends them for the time of the call, until it answers false.
   *
   * @returns how many bytes were used; the others are to come again, when there is room
   * @throws {HostError} IO_ERROR for a length that no frame has: what follows is no stream of frames any more
   */
  push(bytes: Uint8Array, take: (frame: Uint8Array) => boolean): number {
    let at = 0;
    for (;;) {
      if (this.#have > 0) {
        at = this.#gather(bytes, at);
        if (!this.#isWhole()) return at;
        const frame = this.#pieces.subarray(lengthBytes, this.#have);
        if (frame.length >= shortestFrame && !take(frame)) return at;
        this.#have = 0;
      }
      const end = at + lengthBytes > bytes.length ? Infinity : at + lengthBytes + lengthAt(bytes, at);
      if (end > bytes.length) {
        if (at === bytes.length) return at;
        at = this.#gather(bytes, at);
        return at;
      }
      const frame = bytes.subarray(at + lengthBytes, end);
      if (frame.length >= shortestFrame && !take(frame)) return at;
      at = end;
    }
  }

  /** Takes as much of the frame that came in pieces as there is. */
  #gather(bytes: Uint8Array, from: number): number {
    let at = from;
    while (at < bytes.length) {
      const wanted = this.#have < lengthBytes ? lengthBytes : lengthBytes + this.#length();
      const count = Math.min(wanted - this.#have, bytes.length - at);
      if (count === 0) break;
      this.#pieces.set(bytes.subarray(at, at + count), this.#have);
      this.#have += count;
      at += count;
    }
    return at;
  }

  #isWhole(): boolean {
    return this.#have >= lengthBytes && this.#have === lengthBytes + this.#length();
  }

  #length(): number {
    return checked(this.#header.getUint32(0));
  }
}

function lengthAt(bytes: Uint8Array, at: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
  return checked(((a << 24) | (b << 16) | (c << 8) | d) >>> 0);
}

function checked(length: number): number {
  if (length <= longestFrame) return length;
  throw new HostError(
    'IO_ERROR',
    `the other end sent a frame of ${length} bytes, and ${longestFrame} are the most: it speaks something else`,
  );
}

/**
 * Gathers frames into buffers of many, so that the stream is written to once for all that came in a turn.
 */
export class FrameWriter {
  readonly #capacity: number;
  readonly #write: (bytes: Uint8Array, written: () => void) => void;
  readonly #room: () => void;
  #filling: Uint8Array;
  #spare: Uint8Array | undefined;
  #used = 0;
  #scheduled = false;
  #refused = false;

  /**
   * @param write hands bytes over, which stay as they are until it says that they are written
   * @param room is called when there is room again after there was none
   */
  constructor(
    write: (bytes: Uint8Array, written: () => void) => void,
    room: () => void,
    capacity: number = 4 * (lengthBytes + longestFrame),
  ) {
    this.#write = write;
    this.#room = room;
    this.#capacity = capacity;
    this.#filling = new Uint8Array(capacity);
    this.#spare = new Uint8Array(capacity);
  }

  /** Somebody was told to wait for room. */
  get isFull(): boolean {
    return this.#refused;
  }

  /** Copies a frame; false when there is no room for it. One that is longer than a stream carries is lost. */
  add(frame: Uint8Array): boolean {
    const { length } = frame;
    if (length > longestFrame) return true;
    const at = this.#used;
    if (at + lengthBytes + length > this.#capacity) {
      this.#refused = true;
      return false;
    }
    const target = this.#filling;
    target[at] = length >>> 24;
    target[at + 1] = length >>> 16;
    target[at + 2] = length >>> 8;
    target[at + 3] = length;
    target.set(frame, at + lengthBytes);
    this.#used = at + lengthBytes + length;
    if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(this.#flush);
    }
    return true;
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    const next = this.#spare;
    // The one before is still being written: its end is the next moment.
    if (next === undefined || this.#used === 0) return;
    const full = this.#filling;
    const bytes = full.subarray(0, this.#used);
    this.#filling = next;
    this.#spare = undefined;
    this.#used = 0;
    this.#write(bytes, () => {
      this.#spare = full;
      this.#flush();
    });
    if (!this.#refused) return;
    this.#refused = false;
    this.#room();
  };
}
