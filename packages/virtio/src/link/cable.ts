import { UsageError } from '../errors.ts';
import type { Endpoint, Link } from './endpoint.ts';
import { checksumLiesWithin, completeChecksum } from './finish-checksum.ts';
import { ethernetHeader } from './numbers.ts';
import { checked, finished, type Offload, segmentation, type TakenOffloads } from './offload.ts';
import { SegmentPlan, Segments } from './segments.ts';

/** Sees the frames of a cable, as they are sent into it, in the order in which they are. */
export interface Watcher {
  /**
   * A frame is about to be handed over; it is lent until this returns.
   *
   * @param fromFirst it comes from the end that was named first
   */
  sent(frame: Uint8Array, offload: Offload, fromFirst: boolean): void;
  /** The frame that was seen last from this end was not taken: it will be sent, and seen, again. */
  refused(fromFirst: boolean): void;
  /** The frame that was seen last from this end was taken. */
  taken(fromFirst: boolean): void;
}

/** How two endpoints are joined. */
export interface CableOptions {
  /** False for a cable that is cut at first. */
  readonly up?: boolean;
  /** Sees all frames: a capture. */
  readonly watcher?: Watcher | undefined;
}

/** What became of the frames that one end sent. */
export interface CableCounts {
  /** Frames that were sent while the cable was up, as they were sent: one that was cut into segments counts once. */
  readonly frames: number;
  readonly bytes: number;
  /** Those of them that were dropped since what is said to be left to do to them cannot be: fields that lie. */
  readonly malformed: number;
  /** Frames that were sent while the cable was cut, or half of which had not arrived when it was. */
  readonly lost: number;
}

/**
 * Two endpoints, joined. Frames reach the other end as far finished as that wants them, in order, none twice. Where the other
 * end has no room its sender waits; of a frame that was cut into segments the rest is kept meanwhile.
 */
export interface Cable {
  readonly up: boolean;
  /** What became of frames from the end that was named first, and of those to it. */
  readonly fromFirst: CableCounts;
  readonly toFirst: CableCounts;
  /** Cuts it: frames are lost until `mend`. */
  cut(): void;
  /**
   * Joins what was cut.
   *
   * @throws {UsageError} BAD_STATE when it was closed
   */
  mend(): void;
  /** Cuts it for good. */
  close(): void;
}

/**
 * Joins two endpoints; both are told at once, the first one first.
 *
 * @throws {UsageError} BAD_ARGUMENT when they are the same
 */
export function connect(first: Endpoint, second: Endpoint, options: CableOptions = {}): Cable {
  if (first === second) {
    throw new UsageError('BAD_ARGUMENT', 'a cable joins two endpoints; these are one');
  }
  const { up = true, watcher } = options;
  const shared: Shared = { up };
  const forward = new Direction(shared, first, second, watcher, true);
  const backward = new Direction(shared, second, first, watcher, false);
  forward.other = backward;
  backward.other = forward;
  first.attached(forward);
  second.attached(backward);
  return new TwoWays(shared, forward, backward);
}

interface Shared {
  up: boolean;
}

class TwoWays implements Cable {
  readonly fromFirst: CableCounts;
  readonly toFirst: CableCounts;
  readonly #shared: Shared;
  readonly #ways: readonly [Direction, Direction];
  #closed = false;

  constructor(shared: Shared, forward: Direction, backward: Direction) {
    this.#shared = shared;
    this.#ways = [forward, backward];
    this.fromFirst = forward;
    this.toFirst = backward;
  }

  get up(): boolean {
    return this.#shared.up;
  }

  cut(): void {
    this.#turn(false);
  }

  mend(): void {
    if (this.#closed) throw new UsageError('BAD_STATE', 'the cable was closed: connect the endpoints anew');
    this.#turn(true);
  }

  close(): void {
    this.#closed = true;
    this.#turn(false);
  }

  #turn(up: boolean): void {
    if (this.#shared.up === up) return;
    this.#shared.up = up;
    for (const way of this.#ways) if (!up) way.lose();
    for (const way of this.#ways) way.sender.carrier?.(up);
    for (const way of this.#ways) way.goOn();
  }
}

/** One way through a cable, which is the link that its sender sees. */
class Direction implements Link, CableCounts {
  readonly sender: Endpoint;
  other: Direction | undefined;
  frames = 0;
  bytes = 0;
  malformed = 0;
  lost = 0;
  readonly #shared: Shared;
  readonly #receiver: Endpoint;
  readonly #watcher: Watcher | undefined;
  readonly #first: boolean;
  readonly #plan = new SegmentPlan();
  readonly #segments = new Segments(this.#plan);
  #room = new Uint8Array(0);
  /** The sender was told that there is no room. */
  #waiting = false;
  /** The receiver is being given what was finished here: its memory is in use. */
  #busy = false;

  constructor(
    shared: Shared,
    sender: Endpoint,
    receiver: Endpoint,
    watcher: Watcher | undefined,
    first: boolean,
  ) {
    this.#shared = shared;
    this.sender = sender;
    this.#receiver = receiver;
    this.#watcher = watcher;
    this.#first = first;
  }

  get up(): boolean {
    return this.#shared.up;
  }

  get takes(): TakenOffloads {
    return this.#receiver.takes;
  }

  send(frame: Uint8Array, offload: Offload = finished): boolean {
    if (!this.#shared.up) {
      this.lost++;
      return true;
    }
    if (this.#busy || this.#segments.pending) {
      this.#waiting = true;
      return false;
    }
    if (frame.length < ethernetHeader) return this.#drop();
    const watcher = this.#watcher;
    watcher?.sent(frame, offload, this.#first);
    const { length } = frame;
    // What needs nothing passes as it is.
    const taken =
      offload.needsChecksum || offload.segmentation !== segmentation.NONE || offload.tunnel !== undefined
        ? this.#finish(frame, offload)
        : this.#receiver.receive(frame, offload);
    if (taken) {
      this.frames++;
      this.bytes += length;
      watcher?.taken(this.#first);
      // It may have been sent from within, while the memory here was in use.
      if (this.#waiting && !this.#busy && !this.#segments.pending) this.goOn();
    } else {
      this.#waiting = true;
      watcher?.refused(this.#first);
    }
    return taken;
  }

  more(follow: boolean): void {
    this.#receiver.more?.(follow);
  }

  /** The sender has room again. */
  room(): void {
    this.other!.roomAhead();
  }

  /** The receiver has room again: first for what is kept, then for what the sender has. */
  roomAhead(): void {
    if (this.#busy) return;
    if (this.#segments.pending && !this.#giveSegments()) return;
    this.goOn();
  }

  /** Loses what is kept. */
  lose(): void {
    if (!this.#segments.pending) return;
    this.#segments.forget();
    this.lost++;
  }

  /** Lets a sender go on that waits. */
  goOn(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.sender.room();
  }

  #finish(frame: Uint8Array, offload: Offload): boolean {
    if (offload.segmentation === segmentation.NONE) {
      if (offload.tunnel !== undefined || !checksumLiesWithin(frame, offload)) return this.#drop();
      if (this.#receiver.takes.checksum) return this.#receiver.receive(frame, offload);
      return this.#giveChecked(frame, offload);
    }
    // An endpoint that takes such a frame unfinished can rely on what was checked here.
    if (!this.#plan.read(frame, offload)) return this.#drop();
    if (this.#isTaken(offload)) return this.#receiver.receive(frame, offload);
    this.#segments.begin(frame, offload);
    if (this.#giveSegments()) return true;
    if (this.#segments.untouched) {
      this.#segments.forget();
      return false;
    }
    if (this.#segments.pending) this.#segments.keep();
    return true;
  }

  /** True when the receiver cuts such frames itself. */
  #isTaken(offload: Offload): boolean {
    const { takes } = this.#receiver;
    if (!takes.checksum || (offload.ecn && !takes.ecn)) return false;
    const { tunnel } = offload;
    if (tunnel !== undefined && !(takes.tunnel && (!tunnel.outerChecksum || takes.tunnelChecksum)))
      return false;
    switch (offload.segmentation) {
      case segmentation.TCP4:
        return takes.tcp4;
      case segmentation.TCP6:
        return takes.tcp6;
      case segmentation.UDP:
        return this.#plan.headers.version === 4 ? takes.udp4 : takes.udp6;
      default:
        return takes.udpFragments;
    }
  }

  /** Drops a frame that lies; to its sender it is as if it had been lost on the way. */
  #drop(): boolean {
    this.malformed++;
    return true;
  }

  #giveChecked(frame: Uint8Array, offload: Offload): boolean {
    if (this.#room.length < frame.length) this.#room = new Uint8Array(frame.length);
    const copy = this.#room.length === frame.length ? this.#room : this.#room.subarray(0, frame.length);
    copy.set(frame);
    completeChecksum(copy, offload.checksumStart, offload.checksumOffset);
    this.#busy = true;
    try {
      return this.#receiver.receive(copy, checked);
    } finally {
      this.#busy = false;
    }
  }

  /** Gives segments as long as they are taken; false when some are left. */
  #giveSegments(): boolean {
    this.#busy = true;
    const segments = this.#segments;
    try {
      while (segments.pending) {
        if (!this.#receiver.receive(segments.next(), checked)) return false;
        segments.advance();
      }
      return true;
    } finally {
      this.#busy = false;
    }
  }
}
