import { HostError } from '../../errors.ts';
import type { Budget } from './budget.ts';
import type { Chunks } from './chunks.ts';
import type { TcpCounters } from './counters.ts';
import type { Due } from './deadlines.ts';
import type { TcpAddress } from './interface.ts';
import { timestampsLength } from './options.ts';
import { Receiver } from './receiver.ts';
import { Sender } from './sender.ts';

/**
 * The states of RFC 9293, 3.3.2. LISTEN is the stack itself; `REQUESTED` is a SYN that came and was neither accepted nor
 * refused.
 */
export type State =
  | 'REQUESTED'
  | 'SYN-SENT'
  | 'SYN-RECEIVED'
  | 'ESTABLISHED'
  | 'FIN-WAIT-1'
  | 'FIN-WAIT-2'
  | 'CLOSE-WAIT'
  | 'CLOSING'
  | 'LAST-ACK'
  | 'TIME-WAIT'
  | 'CLOSED';

/** What a connection needs of the stack that it belongs to. */
export interface ConnectionOwner {
  readonly chunks: Chunks;
  /** Of bytes that peers may send, and of bytes that wait for peers. */
  readonly budget: Budget;
  readonly sendBudget: Budget;
  readonly counters: TcpCounters;
  /** Milliseconds in TIME-WAIT. */
  readonly timeWait: number;
  now(): number;
  /** It may have something to send. */
  wake(connection: Connection): void;
  /** Its deadline has moved to earlier. */
  schedule(connection: Connection): void;
  /** Its state is another one. */
  moved(connection: Connection, from: State): void;
  /** Whoever asked for it gave up, and the peer is to hear of a reset. */
  sendReset(connection: Connection, sequence: number, acknowledges: boolean): void;
}

/** Who uses a connection: its stream, or what will become one. */
export interface ConnectionUser {
  /** True when bytes in order go to `data` at once, and wait only when it does not take them. */
  readonly direct: boolean;
  /** Bytes in order, lent. @returns how many it took */
  data(bytes: Uint8Array): number;
  /** More waits to be read, or the peer has come to its end. */
  arrived(): void;
  /** Something of what was written was acknowledged. */
  acknowledged(): void;
  /** The connection is there. */
  established(): void;
  /** It is over. */
  over(failure: Error | undefined): void;
}

/** Nobody uses it yet. */
const nobody: ConnectionUser = {
  direct: false,
  data: () => 0,
  arrived() {},
  acknowledged() {},
  established() {},
  over() {},
};

const never = Number.POSITIVE_INFINITY;

/** How often something is sent again before the connection is given up: R2 of RFC 9293, 3.8.3, some ten minutes. */
const mostTries = 15;
/** Milliseconds for which a connection is asked for; and those after which a peer that says no more is forgotten. */
const longestOpening = 180_000;
const longestSilence = 60_000;
/** Keep-alive probes: their number, and the milliseconds between them. */
const mostProbes = 9;
const probeInterval = 75_000;
/** Milliseconds for which an acknowledgment may wait for company. */
const longestDelay = 40;
/** Acknowledgments that are sent at once while a connection is young, so that its sender comes up to speed. */
const quickAtFirst = 16;
/** Answers to segments that look forged or old: so many in so many milliseconds (RFC 5961, 7). */
const mostAnswers = 10;
const answerInterval = 1000;

/** One connection: its state, its timers, and its two directions. */
export class Connection implements Due {
  state: State;
  readonly local: TcpAddress;
  readonly remote: TcpAddress;
  readonly owner: ConnectionOwner;
  readonly sender: Sender;
  readonly receiver: Receiver;
  user: ConnectionUser = nobody;
  /** The sum of the addresses and the protocol, for checksums. */
  readonly pseudoHeader: number;
  /** What the peer takes in a segment, and what the path takes, without options. */
  peerSegment = 536;
  pathSegment: number;
  /** What we tell that we take, in SYNs. */
  readonly ownSegment: number;
  /** By how many bits our windows are shifted, when the peer does as well. */
  readonly ownShift: number;
  /** Timestamps are in use: ours, the peer's latest, and when that came. */
  timestamps = false;
  readonly timestampOffset: number;
  recent = 0;
  recentAt = 0;
  /** RCV.NXT as it was told last. */
  lastAcknowledged = 0;
  /** What is due: a SYN, with an ACK or without; an acknowledgment; a probe of a peer that has no room, or is silent. */
  synDue = false;
  acknowledgmentDue = false;
  probeDue = false;
  /** A small segment has waited for long enough. */
  override = false;
  /** What the peer's options said, of those that count from the SYN on. */
  peerScales = false;
  peerSelects = false;
  /** We began: then a refusal is told to whoever asked, and a reset in SYN-RECEIVED too. */
  readonly active: boolean;
  /** The size of the segments that come, as far as can be told; and the bytes that are not acknowledged. */
  #incoming = 536;
  #unanswered = 0;
  #quick = quickAtFirst;
  #retransmitAt = never;
  /** When that comes, the tail is asked about first. */
  #asksTail = false;
  #acknowledgeAt = never;
  #idleAt = never;
  #tries = 0;
  #begunAt: number;
  #heardAt: number;
  #keepAlive = 0;
  #probes = 0;
  #answers = 0;
  #answersSince = 0;
  /** Kept by the heap of deadlines. */
  filedAt = 0;
  filed = -1;
  /** Kept by the stack: the next in the same bucket, and whether and before whom it waits to send. */
  nextInBucket: Connection | undefined;
  bucket = 0;
  isReady = false;
  nextReady: Connection | undefined;

  constructor(
    state: 'REQUESTED' | 'SYN-SENT',
    local: TcpAddress,
    remote: TcpAddress,
    owner: ConnectionOwner,
    options: {
      readonly first: number;
      readonly timestampOffset: number;
      readonly segment: number;
      readonly receiveBuffer: number;
      readonly pseudoHeader: number;
    },
  ) {
    this.state = state;
    this.active = state === 'SYN-SENT';
    this.local = local;
    this.remote = remote;
    this.owner = owner;
    this.pseudoHeader = options.pseudoHeader;
    this.timestampOffset = options.timestampOffset;
    this.ownSegment = options.segment;
    this.pathSegment = options.segment;
    this.ownShift = Receiver.scaleFor(options.receiveBuffer);
    this.sender = new Sender(options.first, options.segment, owner.chunks, owner.sendBudget);
    this.receiver = new Receiver(options.receiveBuffer, options.segment, owner.chunks, owner.budget);
    this.#begunAt = owner.now();
    this.#heardAt = this.#begunAt;
  }

  /** True in the states in which both sides know where the other begins. */
  get synchronized(): boolean {
    return this.state !== 'REQUESTED' && this.state !== 'SYN-SENT' && this.state !== 'CLOSED';
  }

  /** The largest payload of a segment, with options of so many bytes: `Eff.snd.MSS` of RFC 9293, 3.7.1. */
  segmentFor(options: number): number {
    return Math.max(Math.min(this.peerSegment, this.pathSegment) - options, 1);
  }

  /** Our timestamp for now: milliseconds, from where nobody can guess. */
  timestamp(now: number): number {
    return (Math.floor(now) + this.timestampOffset) | 0;
  }

  get deadline(): number {
    return Math.min(this.#retransmitAt, this.#acknowledgeAt, this.#idleAt, this.sender.lostAt);
  }

  move(state: State): void {
    const from = this.state;
    if (from === state) return;
    this.state = state;
    this.owner.moved(this, from);
  }

  /** It may have something to send. */
  wake(): void {
    if (this.synchronized) this.owner.wake(this);
  }

  /** The path takes less than it did: what is under way goes again, in smaller segments. */
  shrink(): void {
    this.sender.resize(this.segmentFor(this.timestamps ? timestampsLength : 0));
    this.sender.sendAgain();
  }

  /** A SYN is to be sent, again when nobody answers. */
  sendSyn(): void {
    this.synDue = true;
    this.owner.wake(this);
  }

  /** Grants what the peer asked for. */
  accept(): void {
    this.#begunAt = this.owner.now();
    this.move('SYN-RECEIVED');
    this.sendSyn();
  }

  /** Both SYNs are acknowledged. */
  establish(now: number): void {
    const { sender } = this;
    const lost = this.#tries > 0;
    if (lost) sender.roundTrip.lostSyn();
    else sender.roundTrip.measured(now - this.#begunAt);
    this.#tries = 0;
    sender.roundTrip.doublings = 0;
    sender.begin(this.segmentFor(this.timestamps ? timestampsLength : 0), lost);
    this.move('ESTABLISHED');
    this.#setRetransmit(never);
    this.keepAlive(this.#keepAlive, now);
    this.user.established();
  }

  /** A segment came that is one of this connection's. */
  heard(now: number): void {
    // After a silence its sender comes up to speed anew, and asks for quick acknowledgments.
    if (now - this.#heardAt > this.sender.roundTrip.timeout) this.#quick = quickAtFirst;
    this.#heardAt = now;
    this.#probes = 0;
  }

  /** The peer has acknowledged something, or told that it has no room: it is there. */
  answered(now: number, advanced: boolean): void {
    const { sender } = this;
    // A peer that never has room keeps what nobody waits for no longer than one that is gone.
    if (!this.receiver.closed || sender.edge > sender.unacknowledged) this.#tries = 0;
    if (!advanced) return;
    if (sender.waits) this.#expect(now);
    else this.#setRetransmit(never);
  }

  /** Bytes came in order: they are acknowledged at once, or soon. */
  came(length: number, segmentSize: number, now: number): void {
    const segment = segmentSize > 0 ? segmentSize : Math.min(length, this.ownSegment);
    if (segment > this.#incoming || segmentSize > 0) this.#incoming = segment;
    this.#unanswered += length;
    if (this.#quick > 0 || this.#unanswered >= 2 * this.#incoming) {
      if (this.#quick > 0) this.#quick--;
      this.acknowledgmentDue = true;
    } else if (this.#acknowledgeAt === never) {
      this.#acknowledgeAt = now + longestDelay;
      this.owner.schedule(this);
    }
  }

  /** An acknowledgment goes out, with whatever. */
  acknowledged(): void {
    this.acknowledgmentDue = false;
    this.#unanswered = 0;
    this.#acknowledgeAt = never;
    this.lastAcknowledged = this.receiver.next;
  }

  /** Answers a segment that has no place here, unless too many of them come: two that did so would go on for ever. */
  challenge(now: number): void {
    if (now - this.#answersSince >= answerInterval) {
      this.#answersSince = now;
      this.#answers = 0;
    }
    if (this.#answers++ >= mostAnswers) return;
    this.owner.counters.challenges++;
    this.acknowledgmentDue = true;
  }

  /** The reader read: tells the peer of the room when it is worth a segment. */
  windowMoved(): void {
    if (!this.synchronized || this.receiver.finished || this.state === 'TIME-WAIT') return;
    if (this.receiver.updateDue) {
      this.acknowledgmentDue = true;
      this.owner.wake(this);
    }
  }

  /** Something was sent that is to be acknowledged; or something waits for a peer that has no room. */
  expectAnswer(now: number): void {
    if (this.#retransmitAt === never) this.#expect(now);
  }

  #expect(now: number): void {
    const { tailWait, roundTrip } = this.sender;
    const { timeout } = roundTrip;
    this.#asksTail = this.synchronized && this.sender.waits && tailWait < timeout;
    this.#setRetransmit(now + (this.#asksTail ? tailWait : timeout));
  }

  /** Sends nothing more once what was written is sent. */
  end(): void {
    if (this.sender.ended) return;
    this.sender.ended = true;
    this.owner.wake(this);
  }

  /** The reader wants nothing more, and the writer has ended. */
  close(): void {
    if (this.state === 'CLOSED') return;
    this.receiver.closed = true;
    if (this.receiver.unread > 0 || !this.synchronized) {
      this.abort(
        new HostError('CONNECTION_RESET', 'the connection was closed before all that came was read'),
      );
      return;
    }
    this.end();
    if (this.state === 'FIN-WAIT-2') this.waitForEnd(this.owner.now());
  }

  /** Ends it at once; the peer hears of it. */
  abort(failure: Error): void {
    const { state, sender } = this;
    if (state === 'CLOSED') return;
    const tells = this.synchronized && state !== 'TIME-WAIT';
    if (state === 'REQUESTED') this.owner.sendReset(this, 0, true);
    else if (tells) this.owner.sendReset(this, sender.sequence(sender.next), true);
    this.lose(failure);
  }

  /** It is over, otherwise than by agreement; nobody is told but the user. */
  lose(failure: Error): void {
    if (this.state === 'CLOSED') return;
    const over = this.state === 'TIME-WAIT';
    this.move('CLOSED');
    this.#release();
    if (over) return;
    this.receiver.discard();
    this.user.over(failure);
  }

  /** Both have ended. We stay to acknowledge the peer's FIN again if need be. */
  wait(now: number): void {
    this.move('TIME-WAIT');
    this.#release();
    this.#restartWait(now);
    this.user.over(undefined);
  }

  /** The peer's FIN came again. */
  waitAgain(now: number): void {
    this.#restartWait(now);
    this.acknowledgmentDue = true;
  }

  #restartWait(now: number): void {
    this.#idleAt = now + this.owner.timeWait;
    this.owner.schedule(this);
  }

  /** The peer has acknowledged our FIN, having sent its own: nobody needs to stay. */
  finish(): void {
    this.move('CLOSED');
    this.#release();
    this.user.over(undefined);
  }

  /** We have ended, and the peer may take its time; but not when nobody is left who would read what it sends. */
  waitForEnd(now: number): void {
    if (!this.receiver.closed) return;
    this.#idleAt = now + longestSilence;
    this.owner.schedule(this);
  }

  /** @param milliseconds of silence before it is broken; 0 for never */
  keepAlive(milliseconds: number, now = this.owner.now()): void {
    this.#keepAlive = milliseconds;
    this.#probes = 0;
    if (!this.synchronized || this.state === 'TIME-WAIT') return;
    if (this.receiver.closed && this.state === 'FIN-WAIT-2') return;
    this.#idleAt = milliseconds === 0 ? never : now + milliseconds;
    this.owner.schedule(this);
  }

  due(now: number): void {
    if (this.#acknowledgeAt <= now) {
      this.#acknowledgeAt = never;
      this.acknowledgmentDue = true;
      this.owner.wake(this);
    }
    if (this.sender.lostAt <= now) {
      this.sender.findLosses(now);
      this.owner.wake(this);
    }
    if (this.#retransmitAt <= now) this.#retransmit(now);
    if (this.#idleAt <= now) this.#idle(now);
  }

  #retransmit(now: number): void {
    const { sender } = this;
    this.#retransmitAt = never;
    if (this.#asksTail) {
      this.#asksTail = false;
      sender.probeTail();
      this.#setRetransmit(now + sender.roundTrip.timeout);
      this.owner.wake(this);
      return;
    }
    this.#tries++;
    if (!this.synchronized || this.state === 'SYN-RECEIVED') {
      if (now - this.#begunAt >= longestOpening) this.#giveUp();
      else {
        sender.roundTrip.doublings++;
        this.sendSyn();
      }
      return;
    }
    const closed = sender.edge <= sender.unacknowledged;
    if (this.#tries > mostTries) {
      this.#giveUp();
      return;
    }
    if (closed || !sender.waits) {
      this.probeDue = closed;
      this.override = !closed;
      sender.roundTrip.doublings++;
    } else {
      sender.timedOut();
    }
    this.expectAnswer(now);
    this.owner.wake(this);
  }

  #idle(now: number): void {
    this.#idleAt = never;
    if (this.state === 'TIME-WAIT') {
      this.move('CLOSED');
      return;
    }
    if (this.state === 'FIN-WAIT-2' && this.receiver.closed) {
      this.#giveUp();
      return;
    }
    if (this.#keepAlive === 0) return;
    const silent = now - this.#heardAt;
    if (silent < this.#keepAlive || this.sender.waits) {
      this.#idleAt = Math.max(this.#heardAt + this.#keepAlive, now + 1000);
    } else if (this.#probes++ >= mostProbes) {
      this.#giveUp();
    } else {
      this.#idleAt = now + Math.min(probeInterval, this.#keepAlive);
      this.probeDue = true;
      this.owner.wake(this);
    }
  }

  #giveUp(): void {
    this.abort(new HostError('CONNECTION_RESET', 'the other side has not answered for too long'));
  }

  #setRetransmit(at: number): void {
    this.#retransmitAt = at;
    this.owner.schedule(this);
  }

  #release(): void {
    this.#retransmitAt = never;
    this.#acknowledgeAt = never;
    this.#idleAt = never;
    this.sender.release();
    this.receiver.release();
  }
}
