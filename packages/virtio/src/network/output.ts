import { finished, type Link, type Offload } from '../link/index.ts';
import type { Statistics } from './statistics.ts';

/** What waits for room, at most: frames, and bytes of them. */
const mostFrames = 512;
const mostBytes = 1 << 20;

/** The way out, to whoever is at the link's other end. */
export class Output {
  readonly #statistics: Statistics;
  readonly #waiting: { readonly frame: Uint8Array; readonly offload: Offload }[] = [];
  #waitingBytes = 0;
  #link: Link | undefined;
  /** False from when the link had no room, until it said that there is some. */
  #room = true;
  /** Somebody was told that there is no room. */
  #told = false;
  /** The link is looking at a frame of ours: whatever comes from it now comes from within that. */
  sending = false;
  /** There is room for those who were told otherwise. */
  onRoom: (() => void) | undefined;

  constructor(statistics: Statistics) {
    this.#statistics = statistics;
  }

  attach(link: Link): void {
    this.#link = link;
  }

  get link(): Link | undefined {
    return this.#link;
  }

  /** More frames follow at once, or no more do. */
  more(follow: boolean): void {
    this.#link?.more?.(follow);
  }

  /** Sends a frame, now or when there is room, or drops it when too much waits. The bytes are lent. */
  send(frame: Uint8Array, offload: Offload = finished): void {
    if (this.#trySend(frame, offload)) return;
    if (this.#waiting.length >= mostFrames || this.#waitingBytes + frame.length > mostBytes) {
      this.#statistics.drop('no-room');
      return;
    }
    this.#waiting.push({ frame: frame.slice(), offload: offload === finished ? finished : { ...offload } });
    this.#waitingBytes += frame.length;
  }

  /** Sends a frame, or returns false and calls `onRoom` later. For those who can wait. */
  sendOrWait(frame: Uint8Array, offload: Offload): boolean {
    if (this.#trySend(frame, offload)) return true;
    this.#told = true;
    return false;
  }

  /** The link has room. */
  room(): void {
    this.#room = true;
    let sent = 0;
    for (const { frame, offload } of this.#waiting) {
      if (!this.#give(frame, offload)) break;
      this.#waitingBytes -= frame.length;
      sent++;
    }
    this.#waiting.splice(0, sent);
    if (!this.#room || !this.#told) return;
    this.#told = false;
    this.onRoom?.();
  }

  /** The link was cut or joined again: what waits is of no use any more. */
  clear(): void {
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
    this.room();
  }

  #trySend(frame: Uint8Array, offload: Offload): boolean {
    return this.#room && this.#waiting.length === 0 && this.#give(frame, offload);
  }

  #give(frame: Uint8Array, offload: Offload): boolean {
    const link = this.#link;
    // What goes into a link that is cut, or not there yet, comes to nothing, and nobody waits for it.
    if (link?.up) {
      this.sending = true;
      const taken = link.send(frame, offload);
      this.sending = false;
      if (!taken) {
        this.#room = false;
        return false;
      }
    }
    this.#statistics.sentFrames++;
    this.#statistics.sentBytes += frame.length;
    return true;
  }
}
