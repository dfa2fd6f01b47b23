import { HostError } from '../../errors.ts';
import type { Connection } from './connection.ts';
import { flag } from './header.ts';
import type { Segment } from './segment.ts';

/** Milliseconds after which a timestamp is too old to tell that another is older: 24 days (RFC 7323, 5.5). */
const timestampsLast = 24 * 24 * 3600 * 1000;

/** What a peer takes in a segment that does not say so: less over IPv4 than over IPv6 (RFC 9293, 3.7.1). */
const defaultSegment4 = 536;
const defaultSegment6 = 1220;

/** Segments are not made smaller than this, whatever a peer asks for: each costs a header. */
const leastSegment = 88;

/** What comes with a segment, beside what its header says. */
export interface Arrival {
  readonly segment: Segment;
  /** Where its payload lies. */
  readonly bytes: Uint8Array;
  readonly now: number;
  /** Bytes in each of the segments that it was put together from; 0 when it was one, or nobody knows. */
  readonly segmentSize: number;
}

/** Takes in what the options of a SYN say. */
export function takeSyn(connection: Connection, segment: Segment, now: number): void {
  const { sender, receiver } = connection;
  const { options } = segment;
  receiver.first = segment.sequence;
  const usual = connection.remote.address.length === 4 ? defaultSegment4 : defaultSegment6;
  connection.peerSegment = Math.max(options.mss || usual, leastSegment);
  connection.peerScales = options.windowScale >= 0;
  if (connection.peerScales) {
    sender.shift = options.windowScale;
    receiver.shift = connection.ownShift;
  }
  connection.peerSelects = options.sackPermitted;
  sender.selective = options.sackPermitted;
  connection.timestamps = options.hasTimestamps;
  connection.recent = options.timestamp;
  connection.recentAt = now;
  // The window of a SYN is never scaled.
  sender.edge = 1 + segment.window;
  sender.largestWindow = segment.window;
  sender.windowSequence = 0;
  sender.windowAcknowledgment = 1;
}

/**
 * Takes a segment of a connection, as RFC 9293, 3.10.7, orders it.
 *
 * @returns true for a SYN that begins a new connection where an old one waits
 */
export function arrive(connection: Connection, arrival: Arrival): boolean {
  const { segment, now } = arrival;
  if (connection.state === 'SYN-SENT') {
    arriveAtSynSent(connection, arrival);
    return false;
  }
  const { receiver } = connection;
  let position = receiver.position(segment.sequence);
  if (segment.has(flag.RST)) {
    arriveReset(connection, position, now);
    return false;
  }
  if (segment.has(flag.SYN)) {
    if (connection.state === 'TIME-WAIT' && reopens(connection, segment, position)) return true;
    if (!crosses(connection, segment, position)) {
      arriveSyn(connection, position, now);
      return false;
    }
    position++;
  }
  if (!passes(connection, arrival, position)) return false;
  connection.heard(now);
  if (!segment.has(flag.ACK) || !arriveAcknowledgment(connection, segment, position, now)) return false;
  if (receiver.edge === receiver.next && segment.payloadLength > 0) {
    // A peer that asks whether there is room: its byte is not taken, but what it acknowledged counts.
    connection.acknowledgmentDue = true;
    return false;
  }
  if (segment.payloadLength > 0) arrivePayload(connection, arrival, position);
  if (segment.has(flag.FIN)) receiver.noteFin(position + segment.payloadLength);
  arriveFin(connection, now);
  return false;
}

function arriveAtSynSent(connection: Connection, arrival: Arrival): void {
  const { segment, now } = arrival;
  const { sender, owner } = connection;
  const acknowledges = segment.has(flag.ACK);
  if (acknowledges && sender.position(segment.acknowledgment) !== 1) {
    // Of an older connection: whoever sent it is to end that.
    if (!segment.has(flag.RST)) owner.sendReset(connection, segment.acknowledgment, false);
    return;
  }
  if (segment.has(flag.RST)) {
    if (acknowledges) connection.lose(refused());
    return;
  }
  if (!segment.has(flag.SYN)) return;
  takeSyn(connection, segment, now);
  connection.heard(now);
  if (!acknowledges) {
    connection.move('SYN-RECEIVED');
    connection.sendSyn();
    return;
  }
  sender.unacknowledged = 1;
  connection.acknowledgmentDue = true;
  connection.establish(now);
  if (segment.payloadLength > 0) arrivePayload(connection, arrival, 1);
  if (segment.has(flag.FIN)) connection.receiver.noteFin(1 + segment.payloadLength);
  arriveFin(connection, now);
}

const refused = (): HostError => new HostError('CONNECTION_REFUSED', 'nobody listens there');

/** Only the very next sequence number ends a connection; another one in the window is asked about (RFC 5961, 3.2). */
function arriveReset(connection: Connection, position: number, now: number): void {
  const { receiver, sender, state, active } = connection;
  if (position !== receiver.next) {
    if (position > receiver.next && position < receiver.edge) connection.challenge(now);
    return;
  }
  const ending = state === 'CLOSING' || state === 'LAST-ACK';
  if (state === 'SYN-RECEIVED' && active) connection.lose(refused());
  // The peer has sent all and has all: it forgot the connection before our FIN was acknowledged.
  else if (ending && sender.unacknowledged === sender.queue.end) connection.finish();
  else connection.lose(new HostError('CONNECTION_RESET', 'the other side has reset the connection'));
}

/** A SYN where an old connection waits begins a new one when it cannot be of the old (RFC 9293, 3.10.7.4; RFC 6191). */
function reopens(connection: Connection, { options, flags }: Segment, position: number): boolean {
  if ((flags & (flag.ACK | flag.FIN)) !== 0) return false;
  if (connection.timestamps && options.hasTimestamps && ((options.timestamp - connection.recent) | 0) > 0) {
    return true;
  }
  return position > connection.receiver.next;
}

/** The answer of a peer that began at the same moment as we did. */
function crosses(connection: Connection, segment: Segment, position: number): boolean {
  return (
    connection.state === 'SYN-RECEIVED' &&
    connection.active &&
    position === 0 &&
    segment.has(flag.ACK) &&
    connection.sender.position(segment.acknowledgment) === connection.sender.next
  );
}

/** A SYN on a connection that is there: a repeated one was not answered in time, every other is asked about (RFC 5961, 4.2). */
function arriveSyn(connection: Connection, position: number, now: number): void {
  if (connection.state === 'SYN-RECEIVED' && position === 0) connection.synDue = true;
  else connection.challenge(now);
}

/** False for a segment that lies outside of the window, or is older than one that came; then it was answered. */
function passes(connection: Connection, { segment, now }: Arrival, position: number): boolean {
  const { receiver } = connection;
  const { options } = segment;
  if (connection.timestamps) {
    // RFC 7323, 3.2: once agreed on, every segment has them.
    if (!options.hasTimestamps) return false;
    const age = (options.timestamp - connection.recent) | 0;
    if (age < 0 && now - connection.recentAt < timestampsLast) {
      connection.challenge(now);
      return false;
    }
  }
  if (!acceptable(connection, segment, position)) {
    if (connection.state === 'TIME-WAIT' && segment.has(flag.FIN)) connection.waitAgain(now);
    else if (segment.payloadLength > 0) repeated(connection, position, segment.payloadLength);
    else connection.challenge(now);
    return false;
  }
  if (connection.timestamps && position <= connection.lastAcknowledged) {
    connection.recent = options.timestamp;
    connection.recentAt = now;
  }
  return position <= receiver.edge;
}

/**
 * The test of RFC 9293, 3.10.7.4. A segment without anything in it may begin at the window's very end, where a peer is that
 * has filled the window with what was lost; and a FIN needs no room.
 */
function acceptable({ receiver }: Connection, segment: Segment, position: number): boolean {
  const { next, edge } = receiver;
  const { payloadLength } = segment;
  const length = segment.has(flag.FIN) ? payloadLength + 1 : payloadLength;
  if (length === 0) return position >= next && position <= edge;
  if (edge === next) return position === next;
  const last = position + length - 1;
  return (position >= next && position < edge) || (last >= next && last < edge);
}

/** All of a payload came before: its sender hears of it (RFC 2883). */
function repeated(connection: Connection, position: number, length: number): void {
  const { receiver } = connection;
  connection.acknowledgmentDue = true;
  if (position < 1 || position + length > receiver.next) return;
  receiver.duplicateStart = position;
  receiver.duplicateEnd = position + length;
}

/** False when what it says cannot be, and it is dropped. */
function arriveAcknowledgment(
  connection: Connection,
  segment: Segment,
  position: number,
  now: number,
): boolean {
  const { sender, owner } = connection;
  const acknowledged = sender.position(segment.acknowledgment);
  if (connection.state === 'SYN-RECEIVED') {
    if (acknowledged <= 0 || acknowledged > sender.next) {
      owner.sendReset(connection, segment.acknowledgment, false);
      return false;
    }
    sender.unacknowledged = 1;
    sender.windowSequence = -1;
    takeWindow(connection, segment, position, acknowledged);
    connection.establish(now);
    return connection.synchronized;
  }
  // What was never sent cannot be acknowledged, and what is too old is not ours to hear (RFC 5961, 5.2).
  const oldest = sender.unacknowledged - sender.largestWindow;
  if (acknowledged > sender.next || acknowledged < oldest) {
    connection.challenge(now);
    return false;
  }
  if (acknowledged < sender.unacknowledged) return true;
  takeAcknowledgment(connection, segment, position, acknowledged, now);
  return arriveFinAcknowledged(connection, now);
}

function takeAcknowledgment(
  connection: Connection,
  segment: Segment,
  position: number,
  acknowledged: number,
  now: number,
): void {
  const { sender, user } = connection;
  const { options } = segment;
  const advances = acknowledged > sender.unacknowledged;
  const edge = sender.edge;
  const echo = connection.timestamps ? (connection.timestamp(now) - options.timestampEcho) | 0 : -1;
  sender.rack.now = now;
  sender.rack.echoed = echo;
  if (advances) sender.acknowledged(acknowledged, now, echo);
  takeWindow(connection, segment, position, acknowledged);
  connection.answered(now, advances);
  if (sender.selective) {
    let fresh = false;
    for (let i = 0; i < options.sackBlocks; i++) {
      const start = sender.position(options.sack[2 * i]!);
      const end = sender.position(options.sack[2 * i + 1]!);
      if (sender.selected(start, end)) fresh = true;
    }
    if (fresh) sender.duplicate();
  } else if (!advances && sender.waits && !sender.probing && sender.edge === edge && isBare(segment)) {
    sender.duplicate();
  }
  const twice = options.sackBlocks > 0 && sender.position(options.sack[1]!) <= acknowledged;
  sender.tailAnswered(acknowledged, twice, !advances && options.sackBlocks === 0);
  if (twice) sender.rack.cameTwice(acknowledged, sender.next);
  sender.findLosses(now);
  if (sender.lostAt < Number.POSITIVE_INFINITY) connection.owner.schedule(connection);
  if (advances) user.acknowledged();
}

/** It has nothing in it but an acknowledgment. */
function isBare(segment: Segment): boolean {
  return segment.payloadLength === 0 && (segment.flags & (flag.SYN | flag.FIN)) === 0;
}

/** Takes the window of a segment that is not older than the one that told it last (SND.WL1, SND.WL2). */
function takeWindow({ sender }: Connection, segment: Segment, position: number, acknowledged: number): void {
  const { windowSequence, windowAcknowledgment } = sender;
  if (position < windowSequence) return;
  if (position === windowSequence && acknowledged < windowAcknowledgment) return;
  const window = segment.window * 2 ** sender.shift;
  sender.windowSequence = position;
  sender.windowAcknowledgment = acknowledged;
  sender.edge = acknowledged + window;
  if (window > sender.largestWindow) sender.largestWindow = window;
  if (sender.probing && sender.edge > sender.unacknowledged) {
    // The byte that asked for room was most likely dropped: there was none.
    sender.probing = false;
    sender.sendAgain();
  }
}

/** Moves on when the peer has acknowledged our FIN. False when that was the last of the connection. */
function arriveFinAcknowledged(connection: Connection, now: number): boolean {
  if (!connection.sender.finished) return true;
  switch (connection.state) {
    case 'FIN-WAIT-1':
      connection.move('FIN-WAIT-2');
      connection.waitForEnd(now);
      return true;
    case 'CLOSING':
      connection.wait(now);
      return true;
    case 'LAST-ACK':
      connection.finish();
      return false;
    default:
      return true;
  }
}

const unwanted = (): HostError =>
  new HostError('CONNECTION_RESET', 'the other side sent what nobody reads any more');

/** In the states in which the peer may still send. */
function receives({ state }: Connection): boolean {
  return state === 'ESTABLISHED' || state === 'FIN-WAIT-1' || state === 'FIN-WAIT-2';
}

function arrivePayload(connection: Connection, arrival: Arrival, position: number): void {
  if (!receives(connection)) return;
  const { receiver, user } = connection;
  const { segment, bytes, now, segmentSize } = arrival;
  const limit = receiver.finAt < 0 ? receiver.edge : Math.min(receiver.edge, receiver.finAt);
  const from = Math.max(position, receiver.next);
  const end = Math.min(position + segment.payloadLength, limit);
  if (from > position) repeated(connection, position, from - position);
  if (end <= from) {
    connection.acknowledgmentDue = true;
    return;
  }
  if (receiver.closed) {
    connection.abort(unwanted());
    return;
  }
  const at = segment.payloadAt + from - position;
  const length = end - from;
  if (from > receiver.next) {
    // Behind a gap: its sender hears at once, again and again, so that it finds the loss.
    connection.acknowledgmentDue = true;
    receiver.take(from, bytes, at, length);
    return;
  }
  const fillsGap = receiver.hasGap;
  let taken = 0;
  if (user.direct && !fillsGap && receiver.unread === 0) {
    taken = user.data(at === 0 && length === bytes.length ? bytes : bytes.subarray(at, at + length));
    if (!receives(connection)) return;
    receiver.pass(taken);
    if (receiver.closed && taken < length) {
      connection.abort(unwanted());
      return;
    }
  }
  if (taken < length) receiver.take(from + taken, bytes, at + taken, length - taken);
  if (fillsGap) connection.acknowledgmentDue = true;
  else connection.came(length, segmentSize, now);
  if (taken < length) user.arrived();
}

/** The peer's FIN counts once all before it came. */
function arriveFin(connection: Connection, now: number): void {
  const { receiver, sender } = connection;
  if (!receives(connection) || !receiver.finish()) return;
  connection.acknowledgmentDue = true;
  switch (connection.state) {
    case 'ESTABLISHED':
      connection.move('CLOSE-WAIT');
      break;
    case 'FIN-WAIT-1':
      if (sender.finished) connection.wait(now);
      else connection.move('CLOSING');
      break;
    default:
      connection.wait(now);
  }
  connection.user.arrived();
}
