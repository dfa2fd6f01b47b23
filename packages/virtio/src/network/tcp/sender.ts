import type { Budget } from './budget.ts';
import type { Chunks } from './chunks.ts';
import type { Congestion } from './congestion.ts';
import { Cubic } from './cubic.ts';
import { Flight } from './flight.ts';
import { Rack } from './rack.ts';
import { RoundTrip } from './round-trip.ts';
import { SendQueue } from './send-queue.ts';

/** Milliseconds before the tail is asked about, at least; and by how much later a peer may acknowledge a single segment. */
const leastTailWait = 2;
const latestAcknowledgment = 200;
/** Segments that came out of order, from which on one is lost for sure: `DupThresh`. */
const duplicateThreshold = 3;
const never = Number.POSITIVE_INFINITY;

/**
 * What goes to the peer: what it has acknowledged, what is under way, what is lost and goes again. All are positions in the
 * stream: 0 is our SYN, 1 the first byte, and behind the last byte is the FIN.
 */
export class Sender {
  /** Our first sequence number. */
  readonly first: number;
  /** The first that is not acknowledged, and the first that was never sent: SND.UNA and SND.NXT. */
  unacknowledged = 0;
  next = 0;
  /** The position behind the last that the peer has room for: SND.UNA + SND.WND. */
  edge = 0;
  /** The largest window that the peer ever offered. */
  largestWindow = 0;
  /** By which of its segments the peer told its window last: SND.WL1 and SND.WL2. */
  windowSequence = 0;
  windowAcknowledgment = 0;
  /** By how many bits the peer shifts its windows. */
  shift = 0;
  /** A FIN follows the bytes. */
  ended = false;
  /** The peer tells what it has behind gaps. */
  selective = false;
  /** A small segment waits while another one is under way; or for more to be written. */
  nagle = false;
  corked = false;
  /** A byte was sent to ask a peer that has no room whether it has some now. */
  probing = false;
  readonly queue: SendQueue;
  readonly roundTrip = new RoundTrip();
  readonly rack = new Rack();
  readonly flight = new Flight(this.rack);
  /** When time alone makes something lost that may still arrive; Infinity for never. */
  lostAt = never;
  congestion: Congestion;
  /** Bytes of payload in a full segment. */
  segment: number;
  /** What is to be sent, where {@link plan} found something: from where, and how much of the sequence. */
  from = 0;
  length = 0;
  #recovery: 'none' | 'fast' | 'timeout' = 'none';
  /** Recovery is over once this is acknowledged. */
  #recoveryPoint = 0;
  /** What was not acknowledged when time was last up. */
  #gaveUpAt = -1;
  /** Segments that came out of order at the peer, as far as its acknowledgments tell; and what they may have held. */
  #duplicates = 0;
  #duplicateBytes = 0;
  /** The next retransmission goes, whatever the windows say. */
  #forced = false;
  /** A probe of the tail is due; up to where the last one was sent, -1 without any; and whether that was sent before. */
  #tailDue = false;
  #tailEnd = -1;
  #tailAgain = false;
  /** What tells the round trip once it is acknowledged, and when it was sent; -1 when nothing does. */
  #timedPosition = -1;
  #timedAt = 0;
  /** Behind the last that was sent as less than a full segment. */
  #smallEnd = 0;
  /** When data was last sent, and when last sent again. */
  #sentAt = 0;
  #sentAgainAt = 0;

  constructor(first: number, segment: number, chunks: Chunks, budget: Budget) {
    this.first = first;
    this.segment = segment;
    this.congestion = new Cubic(segment);
    this.queue = new SendQueue(chunks, budget);
  }

  /**
   * The connection is there, and this is the size of its segments.
   *
   * @param lost the SYN was: then one segment is enough to begin with (RFC 5681, 3.1)
   */
  begin(segment: number, lost: boolean): void {
    this.segment = segment;
    this.congestion = lost ? new Cubic(segment, segment) : new Cubic(segment);
  }

  /** The position of a sequence number, near to what was sent. */
  position(sequence: number): number {
    return this.unacknowledged + ((sequence - this.sequence(this.unacknowledged)) | 0);
  }

  /** The sequence number of a position. */
  sequence(position: number): number {
    return (this.first + position) | 0;
  }

  /** The position behind all that is to be sent. */
  get end(): number {
    return this.queue.end + (this.ended ? 1 : 0);
  }

  /** True when something was sent and is not acknowledged. */
  get waits(): boolean {
    return this.next > this.unacknowledged;
  }

  /** True when the peer has acknowledged our FIN. */
  get finished(): boolean {
    return this.ended && this.unacknowledged > this.queue.end;
  }

  /** Bytes that are thought to be under way: neither arrived, nor lost (`pipe`). */
  get underWay(): number {
    const { selected, lost } = this.flight;
    return this.next - this.unacknowledged - selected - lost - this.#duplicateBytes;
  }

  /** The peer has a range behind a gap. False for one that it cannot have. */
  selected(start: number, end: number): boolean {
    if (start <= this.unacknowledged || end <= start || end > this.next) return false;
    return this.flight.select(start, end) > 0;
  }

  /**
   * The peer has everything below a position, above the one before.
   *
   * @param echoed milliseconds since the segment was sent that was acknowledged, by its timestamp; -1 when unknown
   */
  acknowledged(position: number, now: number, echoed: number): void {
    const before = this.next - this.unacknowledged;
    const bytes = position - this.unacknowledged;
    this.unacknowledged = position;
    this.queue.drop(Math.min(position, this.queue.end));
    this.flight.acknowledge(position);
    this.#measure(position, now, echoed);
    if (this.#recovery === 'fast') {
      if (position >= this.#recoveryPoint) this.#recovered();
      else if (!this.selective) this.#partly(bytes);
      return;
    }
    this.#duplicates = 0;
    this.#duplicateBytes = 0;
    if (this.#recovery === 'timeout' && position >= this.#recoveryPoint) {
      this.#recovery = 'none';
      this.rack.recovered();
    }
    // A window that is not half used says nothing of the path (RFC 7661).
    if (2 * before > this.congestion.window) {
      this.congestion.acknowledged(bytes, now, this.roundTrip.smoothed);
    }
  }

  /** A hole of several segments, without SACK: each acknowledgment shows the next of them (RFC 6582, 3.2). */
  #partly(bytes: number): void {
    this.#duplicateBytes = Math.max(0, this.#duplicateBytes - Math.max(0, bytes - this.segment));
    this.flight.loseFirst(this.segment);
    this.#forced = true;
  }

  #recovered(): void {
    this.#recovery = 'none';
    this.rack.recovered();
    this.#duplicates = 0;
    this.#duplicateBytes = 0;
    this.congestion.recovered();
  }

  #measure(position: number, now: number, echoed: number): void {
    let sample = -1;
    if (this.#timedPosition >= 0 && position >= this.#timedPosition) {
      this.#timedPosition = -1;
      sample = now - this.#timedAt;
    } else if (this.#recovery !== 'none' && echoed <= now - this.#sentAgainAt + 1) {
      // The echo of a retransmission tells as well. An older one may be of a segment whose acknowledgment was lost.
      sample = echoed;
    }
    if (sample < 0) return;
    this.roundTrip.measured(sample);
    this.roundTrip.doublings = 0;
  }

  /** An acknowledgment says nothing but that something came out of order at the peer. */
  duplicate(): void {
    this.#duplicates++;
    if (!this.selective) {
      const most = Math.max(0, this.next - this.unacknowledged - this.segment);
      this.#duplicateBytes = Math.min(this.#duplicateBytes + this.segment, most);
    }
  }

  /** Finds what is lost, after an acknowledgment was taken in or when time is up, and begins recovery when something is. */
  findLosses(now: number): void {
    const { flight } = this;
    const { lost } = flight;
    if (this.selective) this.#loseByTime(now);
    else if (this.#recovery === 'none' && this.#duplicates >= duplicateThreshold)
      flight.loseFirst(this.segment);
    // What goes again for other reasons is no sign of a full path.
    if (flight.lost === lost || this.#recovery !== 'none') return;
    this.#recovery = 'fast';
    this.#tailEnd = -1;
    this.#recoveryPoint = this.next;
    this.congestion.lost(this.next - this.unacknowledged);
    this.#forced = true;
  }

  #loseByTime(now: number): void {
    const { flight, rack } = this;
    const { smoothed } = this.roundTrip;
    rack.now = now;
    rack.settle();
    this.lostAt = never;
    if (flight.selected === 0 && this.#recovery === 'none') return;
    const sure = this.#recovery !== 'none' || this.#isSure();
    const earliest = flight.loseOlder(rack.order, rack.end, rack.sentBy(sure, smoothed));
    if (earliest !== never) this.lostAt = rack.dueAt(earliest, sure, smoothed);
  }

  /** As much arrived behind a gap as makes it more than a change of order. */
  #isSure(): boolean {
    const { flight } = this;
    if (this.#duplicates >= duplicateThreshold) return true;
    return flight.selected > (duplicateThreshold - 1) * this.segment || flight.ranges >= duplicateThreshold;
  }

  /**
   * Milliseconds after which the end of what is under way may be lost, so that nothing behind it tells of it; Infinity when
   * that is no question (RFC 8985, 7.2).
   */
  get tailWait(): number {
    const { smoothed, doublings } = this.roundTrip;
    const asks = this.selective && this.#recovery === 'none' && this.#tailEnd < 0;
    if (!asks || doublings > 0 || smoothed === 0 || this.flight.selected > 0) return never;
    // A single segment may be acknowledged late.
    const alone = this.next - this.unacknowledged <= this.segment ? latestAcknowledgment : 0;
    return Math.max(2 * smoothed, leastTailWait) + alone;
  }

  /** The end of what is under way may be lost: one segment is sent that makes the peer say what it has. */
  probeTail(): void {
    this.#tailDue = true;
  }

  /**
   * After a probe of the tail: finds out whether it made a loss good, which is one like any other (RFC 8985, 7.4).
   *
   * @param twice the acknowledgment tells of a range that came twice; `bare` it tells of nothing at all
   */
  tailAnswered(acknowledged: number, twice: boolean, bare: boolean): void {
    if (this.#tailEnd < 0 || acknowledged < this.#tailEnd) return;
    if (!this.#tailAgain || twice || (acknowledged === this.#tailEnd && bare)) this.#tailEnd = -1;
    else if (acknowledged > this.#tailEnd) {
      this.#tailEnd = -1;
      this.congestion.lost(this.next - this.unacknowledged);
      this.congestion.recovered();
    }
  }

  #planTail(): boolean {
    this.#tailDue = false;
    if (this.#recovery !== 'none') return false;
    const { next, segment } = this;
    const fresh = Math.min(segment, this.end - next, this.edge - next);
    this.#tailAgain = fresh <= 0;
    if (fresh > 0) {
      this.#tailEnd = next + fresh;
      return this.#found(next, fresh);
    }
    const from = Math.max(this.unacknowledged, next - segment);
    this.#tailEnd = next;
    return this.#found(from, Math.min(next, this.edge) - from);
  }

  /** Nothing was acknowledged for too long: all that is not known to have arrived is lost. */
  timedOut(): void {
    const again = this.#recovery === 'timeout' && this.#gaveUpAt === this.unacknowledged;
    this.#gaveUpAt = this.unacknowledged;
    this.congestion.timedOut(this.next - this.unacknowledged, again);
    this.roundTrip.doublings++;
    this.#recovery = 'timeout';
    this.#tailEnd = -1;
    this.#recoveryPoint = this.next;
    this.#duplicates = 0;
    this.#duplicateBytes = 0;
    this.#forced = true;
    this.sendAgain();
  }

  /** All that is under way goes again, though nothing was lost for want of room on the path. */
  sendAgain(): void {
    this.flight.loseAll();
    this.lostAt = never;
    this.#timedPosition = -1;
  }

  /** Segments have another size from now on. */
  resize(segment: number): void {
    this.segment = segment;
    this.congestion.resize(segment);
  }

  /**
   * Finds what may be sent now, into `from` and `length`: what is lost before what is new.
   *
   * @param most bytes of payload in one piece
   * @param override sends what there is, however small: it has waited for long enough
   */
  plan(most: number, now: number, override: boolean): boolean {
    if (!this.waits && now - this.#sentAt > this.roundTrip.timeout) this.congestion.idle();
    const room = Math.floor(this.congestion.window) - this.underWay;
    return (
      this.#planLost(most, room) || (this.#tailDue && this.#planTail()) || this.#planNew(most, room, override)
    );
  }

  #planLost(most: number, room: number): boolean {
    const { flight } = this;
    if (!flight.findLost()) return false;
    const from = flight.lostStart;
    const hole = Math.min(flight.lostEnd, this.edge) - from;
    if (hole <= 0) return false;
    const allowed = this.#forced ? Math.max(room, this.segment) : room;
    if (hole <= allowed) return this.#found(from, Math.min(hole, most));
    return this.#found(from, Math.min(this.#whole(allowed), most));
  }

  #planNew(most: number, room: number, override: boolean): boolean {
    const { next, segment } = this;
    const waiting = this.end - next;
    if (waiting === 0) return false;
    const offered = this.edge - next;
    if (offered <= 0) return false;
    const allowed = Math.min(offered, Math.max(room, this.waits ? 0 : segment));
    if (allowed >= waiting) {
      const rest = waiting % segment;
      const held = this.#holdsSmall(override) ? rest : 0;
      return waiting > held && this.#found(next, Math.min(waiting - held, most));
    }
    if (allowed >= segment) return this.#found(next, Math.min(this.#whole(allowed), most));
    // Less than a segment: only when the peer never had much more room, or nothing else would move (RFC 9293, 3.8.6.2.1).
    const worth = allowed === offered && 2 * allowed >= this.largestWindow;
    return (worth || override) && this.#found(next, allowed);
  }

  /**
   * What is no full segment waits for what will be written, or for another one to be acknowledged: of those alone, as Minshall
   * proposed, else the end of each reply would wait for a peer that acknowledges late.
   */
  #holdsSmall(override: boolean): boolean {
    if (override || this.ended) return false;
    return this.corked || (this.nagle && this.#smallEnd > this.unacknowledged);
  }

  #found(from: number, length: number): boolean {
    this.from = from;
    this.length = length;
    return length > 0;
  }

  /** Whole segments of so many bytes. */
  #whole(bytes: number): number {
    return Math.floor(bytes / this.segment) * this.segment;
  }

  /** What {@link plan} found was sent, as far as `to`. */
  sent(to: number, now: number): void {
    this.#sentAt = now;
    if (this.from < this.next) {
      this.#forced = false;
      this.#sentAgainAt = now;
      this.flight.sendAgain(this.from, Math.min(to, this.next), now);
      // What was sent twice tells nothing: nobody knows which of the two was acknowledged (RFC 6298, 3).
      this.#timedPosition = -1;
    } else {
      if ((to - this.from) % this.segment > 0) this.#smallEnd = to;
      if (this.#timedPosition < 0) {
        this.#timedPosition = to;
        this.#timedAt = now;
      }
    }
    if (to > this.next) this.flight.send(Math.max(this.from, this.next), to, now);
    this.next = Math.max(this.next, to);
  }

  /** Nothing is sent any more. */
  release(): void {
    this.queue.clear();
    this.flight.clear();
    this.lostAt = never;
  }
}
