import { foldSum } from '../../link/index.ts';
import type { Connection } from './connection.ts';
import { flag, Header, type HeaderFields, leastHeader } from './header.ts';
import {
  timestampsLength,
  writeMss,
  writeSack,
  writeSackPermitted,
  writeTimestamps,
  writeWindowScale,
} from './options.ts';
import { writeHeader } from './segment.ts';
import { mostSegment, type Wire } from './wire.ts';

/** Blocks of SACK beside timestamps, and without. */
const blocksWithTimestamps = 3;
const blocksAlone = 4;

/** Writes what connections have to say. */
export class Output {
  readonly #wire: Wire;
  readonly #fields = new Header();
  readonly #blocks = new Int32Array(2 * blocksAlone);

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Sends the one piece that a connection has to send next, if any. False when it has no more. */
  turn(connection: Connection, now: number): boolean {
    if (connection.state === 'CLOSED') return false;
    if (connection.synDue) {
      this.#syn(connection, now);
      return true;
    }
    if (!connection.synchronized || connection.state === 'SYN-RECEIVED') return false;
    const { sender } = connection;
    if (sender.end > sender.unacknowledged) {
      const options = this.#optionsLength(connection);
      const segment = connection.segmentFor(options);
      const most = Math.max(Math.floor((mostSegment - leastHeader - options) / segment), 1) * segment;
      if (sender.plan(most, now, connection.override)) {
        this.#data(connection, segment, now);
        return true;
      }
      if (!sender.waits && sender.end > sender.next) connection.expectAnswer(now);
    }
    if (connection.probeDue) this.#probe(connection, now);
    else if (connection.acknowledgmentDue) this.#segment(connection, flag.ACK, sender.next, 0, now);
    return false;
  }

  /** Sends a segment that belongs to no connection: it has no options. */
  stray(source: Uint8Array, destination: Uint8Array, pseudoHeader: number, fields: HeaderFields): void {
    const { bytes, offset } = this.#wire;
    writeHeader(bytes, offset, fields, leastHeader, foldSum(pseudoHeader + leastHeader));
    this.#wire.send(source, destination, leastHeader, leastHeader, 0);
  }

  #syn(connection: Connection, now: number): void {
    connection.synDue = false;
    const { sender, receiver } = connection;
    const answers = connection.state === 'SYN-RECEIVED';
    const { bytes, offset } = this.#wire;
    let at = writeMss(bytes, offset + leastHeader, connection.ownSegment);
    if (!answers || connection.peerScales) {
      at = writeWindowScale(bytes, at, connection.ownShift);
    }
    if (!answers || connection.peerSelects) at = writeSackPermitted(bytes, at);
    if (!answers || connection.timestamps) at = this.#timestamps(connection, at, now);
    receiver.open();
    const fields = this.#fields;
    fields.flags = answers ? flag.SYN | flag.ACK : flag.SYN;
    fields.sequence = sender.first;
    fields.acknowledgment = answers ? receiver.sequence(receiver.next) : 0;
    fields.window = Math.min(receiver.edge - receiver.next, 0xffff);
    sender.next = Math.max(sender.next, 1);
    connection.acknowledged();
    connection.expectAnswer(now);
    this.#send(connection, at - offset, 0, 0);
  }

  /** Sends what the sender has planned. */
  #data(connection: Connection, segment: number, now: number): void {
    const { sender, owner } = connection;
    const { from, queue } = sender;
    const payload = Math.min(from + sender.length, queue.end) - from;
    const ends = from + sender.length > queue.end;
    let flags: number = flag.ACK;
    if (ends) flags |= flag.FIN;
    if (from + payload === queue.end) flags |= flag.PSH;
    if (from < sender.next) owner.counters.retransmissions++;
    connection.override = false;
    sender.sent(from + payload + (ends ? 1 : 0), now);
    if (ends) {
      if (connection.state === 'ESTABLISHED') connection.move('FIN-WAIT-1');
      else if (connection.state === 'CLOSE-WAIT') connection.move('LAST-ACK');
    }
    connection.expectAnswer(now);
    this.#segment(connection, flags, from, payload, now, segment);
  }

  /**
   * Asks a peer that has no room whether it has some, by one byte of what waits (RFC 9293, 3.8.6.1); or one that is silent
   * whether it is there, by a sequence number that it has acknowledged (3.8.4).
   */
  #probe(connection: Connection, now: number): void {
    connection.probeDue = false;
    const { sender } = connection;
    const { unacknowledged } = sender;
    if (sender.end === unacknowledged) {
      this.#segment(connection, flag.ACK, sender.next - 1, 0, now);
      return;
    }
    sender.probing = true;
    sender.from = unacknowledged;
    sender.length = 1;
    this.#data(connection, 1, now);
  }

  #segment(
    connection: Connection,
    flags: number,
    from: number,
    payload: number,
    now: number,
    segment = 0,
  ): void {
    const { sender, receiver } = connection;
    const { bytes, offset } = this.#wire;
    let at = offset + leastHeader;
    if (connection.timestamps) at = this.#timestamps(connection, at, now);
    if (sender.selective && (receiver.hasGap || receiver.duplicateEnd > 0)) {
      const most = connection.timestamps ? blocksWithTimestamps : blocksAlone;
      at = writeSack(bytes, at, this.#blocks, receiver.sack(this.#blocks, most));
    }
    if (payload > 0) sender.queue.read(from, payload, bytes, at);
    receiver.open();
    const fields = this.#fields;
    fields.flags = flags;
    fields.sequence = sender.sequence(from);
    fields.acknowledgment = receiver.sequence(receiver.next);
    fields.window = Math.min(Math.floor((receiver.edge - receiver.next) / 2 ** receiver.shift), 0xffff);
    connection.acknowledged();
    this.#send(connection, at - offset, payload, segment);
  }

  #timestamps(connection: Connection, at: number, now: number): number {
    return writeTimestamps(this.#wire.bytes, at, connection.timestamp(now), connection.recent);
  }

  /** Bytes of options that the next segment with data has. */
  #optionsLength({ timestamps, sender, receiver }: Connection): number {
    const stamps = timestamps ? timestampsLength : 0;
    if (!sender.selective || !(receiver.hasGap || receiver.duplicateEnd > 0)) return stamps;
    const most = timestamps ? blocksWithTimestamps : blocksAlone;
    return stamps + 4 + 8 * receiver.sackBlocks(most);
  }

  #send(connection: Connection, headerLength: number, payload: number, segment: number): void {
    const { local, remote, owner } = connection;
    const { bytes, offset } = this.#wire;
    const fields = this.#fields;
    fields.sourcePort = local.port;
    fields.destinationPort = remote.port;
    const length = headerLength + payload;
    writeHeader(bytes, offset, fields, headerLength, foldSum(connection.pseudoHeader + length));
    owner.counters.segmentsOut++;
    this.#wire.send(local.address, remote.address, length, headerLength, segment);
  }
}
