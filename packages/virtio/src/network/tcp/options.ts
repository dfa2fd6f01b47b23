import { get16, put16, put32 } from '../../link/bytes.ts';
import { readI32 } from './header.ts';

/** Kinds of options (RFC 9293, 3.2; RFC 7323; RFC 2018). */
const kind = Object.freeze({
  END: 0,
  NOP: 1,
  MSS: 2,
  WINDOW_SCALE: 3,
  SACK_PERMITTED: 4,
  SACK: 5,
  TIMESTAMPS: 8,
} as const);

/** Two NOPs and timestamps with their length: the form in which nearly every segment has them. */
const usualTimestamps = 0x0101080a;

/** The most that a window may be scaled (RFC 7323, 2.3). */
export const mostScale = 14;

/** Blocks of SACK that fit into the options. */
const mostBlocks = 4;

/** Bytes of the timestamps option with its padding. */
export const timestampsLength = 12;

/** The options of a segment that came. One object serves many. */
export class Options {
  /** What the segment says that its sender takes; 0 when it does not say. */
  mss = 0;
  /** By how many bits windows are shifted; -1 when the segment does not say. */
  windowScale = -1;
  sackPermitted = false;
  hasTimestamps = false;
  timestamp = 0;
  timestampEcho = 0;
  /** Blocks of SACK in {@link sack}: each is its first sequence number, and the one behind its last. */
  sackBlocks = 0;
  readonly sack = new Int32Array(2 * mostBlocks);

  /**
   * Reads options. One whose length is impossible ends them, since nobody knows where the next begins; one whose length is
   * not that of its kind is passed over (RFC 9293, 3.2, MUST-6 and MUST-7).
   */
  parse(bytes: Uint8Array, from: number, to: number): void {
    this.mss = 0;
    this.windowScale = -1;
    this.sackPermitted = false;
    this.hasTimestamps = false;
    this.sackBlocks = 0;
    let at = from;
    if (to - at >= timestampsLength && readI32(bytes, at) === usualTimestamps) {
      this.#timestamps(bytes, at + 4);
      at += timestampsLength;
    }
    while (at < to) {
      const what = bytes[at]!;
      if (what === kind.END) return;
      if (what === kind.NOP) {
        at++;
        continue;
      }
      const length = at + 1 < to ? bytes[at + 1]! : 0;
      if (length < 2 || at + length > to) return;
      this.#option(what, bytes, at + 2, length - 2);
      at += length;
    }
  }

  #option(what: number, bytes: Uint8Array, at: number, length: number): void {
    switch (what) {
      case kind.MSS:
        if (length === 2) this.mss = get16(bytes, at);
        break;
      case kind.WINDOW_SCALE:
        if (length === 1) this.windowScale = Math.min(bytes[at]!, mostScale);
        break;
      case kind.SACK_PERMITTED:
        if (length === 0) this.sackPermitted = true;
        break;
      case kind.TIMESTAMPS:
        if (length === 8) this.#timestamps(bytes, at);
        break;
      case kind.SACK:
        if (length === 0 || length % 8 !== 0) break;
        this.sackBlocks = Math.min(length / 8, mostBlocks);
        for (let i = 0; i < 2 * this.sackBlocks; i++) this.sack[i] = readI32(bytes, at + 4 * i);
    }
  }

  #timestamps(bytes: Uint8Array, at: number): void {
    this.hasTimestamps = true;
    this.timestamp = readI32(bytes, at);
    this.timestampEcho = readI32(bytes, at + 4);
  }
}

/** Writes the size of segments that we take. @returns where the next option goes */
export function writeMss(bytes: Uint8Array, at: number, mss: number): number {
  bytes[at] = kind.MSS;
  bytes[at + 1] = 4;
  put16(bytes, at + 2, mss);
  return at + 4;
}

/** Writes by how much our windows are scaled. @returns where the next option goes */
export function writeWindowScale(bytes: Uint8Array, at: number, shift: number): number {
  bytes[at] = kind.NOP;
  bytes[at + 1] = kind.WINDOW_SCALE;
  bytes[at + 2] = 3;
  bytes[at + 3] = shift;
  return at + 4;
}

/** Writes that we understand SACK. @returns where the next option goes */
export function writeSackPermitted(bytes: Uint8Array, at: number): number {
  bytes[at] = kind.NOP;
  bytes[at + 1] = kind.NOP;
  bytes[at + 2] = kind.SACK_PERMITTED;
  bytes[at + 3] = 2;
  return at + 4;
}

/** Writes timestamps. @returns where the next option goes */
export function writeTimestamps(bytes: Uint8Array, at: number, timestamp: number, echo: number): number {
  put32(bytes, at, usualTimestamps);
  put32(bytes, at + 4, timestamp);
  put32(bytes, at + 8, echo);
  return at + timestampsLength;
}

/** Writes the first `blocks` blocks of SACK. @returns where the next option goes */
export function writeSack(bytes: Uint8Array, at: number, sack: Int32Array, blocks: number): number {
  bytes[at] = kind.NOP;
  bytes[at + 1] = kind.NOP;
  bytes[at + 2] = kind.SACK;
  bytes[at + 3] = 2 + 8 * blocks;
  for (let i = 0; i < 2 * blocks; i++) put32(bytes, at + 4 + 4 * i, sack[i]!);
  return at + 4 + 8 * blocks;
}
