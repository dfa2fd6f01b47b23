import { HostError, UsageError } from '../../errors.ts';
import { get16 } from '../../link/bytes.ts';
import { internetSum } from '../../link/index.ts';
import { type Arrival, arrive, takeSyn } from './arrival.ts';
import { Budget } from './budget.ts';
import { Chunks } from './chunks.ts';
import type { Clock } from './clock.ts';
import { Connection, type ConnectionOwner, type State } from './connection.ts';
import { newCounters } from './counters.ts';
import { Deadlines } from './deadlines.ts';
import { flag, leastHeader, readI32, tcpProtocol } from './header.ts';
import type {
  QuotedSegment,
  Tcp,
  TcpAddress,
  TcpLimits,
  TcpOptions,
  TcpPacketIn,
  TcpRequest,
  TcpStream,
} from './interface.ts';
import { KeyedHash } from './keyed-hash.ts';
import { Output } from './output.ts';
import { Request } from './request.ts';
import { Segment } from './segment.ts';
import { type Stray, Strays } from './strays.ts';
import { Stream } from './stream.ts';
import { Table } from './table.ts';
import { Wire } from './wire.ts';

const defaultLimits: TcpLimits = Object.freeze({
  connections: 8192,
  halfOpen: 1024,
  receiveBuffer: 4 * 1024 * 1024,
  sendBuffer: 1024 * 1024,
  memory: 256 * 1024 * 1024,
});

/** Bytes of headers in front of a payload without options. */
const headers4 = 20 + leastHeader;
const headers6 = 40 + leastHeader;

/** The smallest packets that we believe a path needs: less would be somebody's wish to see us work (RFC 1191, RFC 8200). */
const leastMtu4 = 552;
const leastMtu6 = 1280;

/** Ports of our own for connections that we ask for, unless told (RFC 6335). */
const firstPort = 49_152;
const ports = 65_536 - firstPort;

/** What comes while something is being taken in: segments may follow each other's answers. */
class Place implements Arrival {
  readonly segment = new Segment();
  bytes: Uint8Array = new Uint8Array();
  now = 0;
  segmentSize = 0;
}

/** A TCP: all connections, above an IP. See README.md for how the parts go together. */
export class TcpStack implements Tcp, ConnectionOwner {
  onConnect: ((request: TcpRequest) => void) | undefined;
  mtu: number;
  readonly counters = newCounters();
  readonly chunks = new Chunks();
  readonly budget: Budget;
  readonly sendBudget: Budget;
  readonly timeWait: number;
  readonly #clock: Clock;
  readonly #limits: TcpLimits;
  readonly #hash: KeyedHash;
  readonly #wire: Wire;
  readonly #output: Output;
  readonly #more: (follow: boolean) => void;
  readonly #deadlines: Deadlines;
  readonly #table: Table;
  readonly #strays: Strays;
  /** Connections that a peer began and has not completed, and those that wait in TIME-WAIT; the oldest first. */
  readonly #halfOpen = new Set<Connection>();
  readonly #waiting = new Set<Connection>();
  /** Connections that may have something to send, in the order of their turns. */
  #firstReady: Connection | undefined;
  #lastReady: Connection | undefined;
  /** How deep we are in calls: what is to be sent is sent when the outermost is done. */
  #depth = 0;
  #sending = false;
  /** More comes before anything is answered. */
  #follow = false;
  readonly #places: Place[] = [];
  #portsGiven = 0;
  #closed = false;

  constructor(options: TcpOptions) {
    const { clock, random, send, more = () => {}, headroom = 64, mtu = 1500, timeWait = 60_000 } = options;
    this.#limits = checkLimits({ ...defaultLimits, ...options.limits });
    checkMtu(mtu);
    this.mtu = mtu;
    this.timeWait = timeWait;
    this.budget = new Budget(this.#limits.memory);
    this.sendBudget = new Budget(this.#limits.memory);
    this.#clock = clock;
    this.#hash = new KeyedHash(random);
    this.#table = new Table(this.#hash);
    this.#wire = new Wire(headroom, send);
    this.#output = new Output(this.#wire);
    this.#more = more;
    this.#strays = new Strays(this.#output);
    this.#deadlines = new Deadlines(clock, () => this.#flush());
  }

  get connections(): number {
    return this.#table.size;
  }

  now(): number {
    return this.#clock.now();
  }

  receive(packet: TcpPacketIn): void {
    if (this.#closed) return;
    const { source, destination, bytes, offset, length, offload } = packet;
    this.#places[this.#depth] ??= new Place();
    const place = this.#places[this.#depth]!;
    const { segment } = place;
    this.counters.segmentsIn++;
    if (!segment.parse(bytes, offset, length) || !isWhole(packet)) {
      this.counters.malformed++;
      return;
    }
    if (segment.sourcePort === 0 || segment.destinationPort === 0) return;
    place.bytes = bytes;
    place.now = this.#clock.now();
    place.segmentSize = offload.segmentSize;
    const connection = this.#table.find(destination, segment.destinationPort, source, segment.sourcePort);
    this.#depth++;
    try {
      if (connection === undefined) this.#arriveNowhere(packet, segment);
      else if (connection.state === 'REQUESTED') this.#arriveAgain(connection, packet, segment);
      else if (arrive(connection, place)) {
        connection.move('CLOSED');
        this.#arriveNowhere(packet, segment);
      } else if (connection.state !== 'CLOSED') this.#ready(connection);
    } finally {
      this.#depth--;
    }
    // What shows a loss is answered one by one: some peers count the answers.
    this.#flush(connection?.receiver.hasGap);
  }

  more(follow: boolean): void {
    this.#follow = follow;
    this.#flush();
  }

  room(): void {
    this.#wire.room();
    this.#flush();
  }

  async connect(local: TcpAddress, remote: TcpAddress): Promise<TcpStream> {
    const connection = this.#begin(local, remote);
    return new Promise((resolve, reject) => {
      const stream: Stream = new Stream(connection, this.#limits.sendBuffer, (failure) => {
        if (failure === undefined) resolve(stream);
        else reject(failure);
      });
      connection.sendSyn();
    });
  }

  tooBig(quoted: QuotedSegment, mtu: number): void {
    const connection = this.#quoted(quoted);
    if (connection === undefined) return;
    const [least, headers] = quoted.source.length === 4 ? [leastMtu4, headers4] : [leastMtu6, headers6];
    const segment = Math.max(mtu, least) - headers;
    if (segment >= connection.pathSegment) return;
    connection.pathSegment = segment;
    if (!connection.synchronized) return;
    connection.shrink();
    this.wake(connection);
  }

  unreachable(quoted: QuotedSegment): void {
    const connection = this.#quoted(quoted);
    // Of one that is there it may be an error that passes, or a forgery (RFC 5927, 5).
    if (connection?.state !== 'SYN-SENT') return;
    connection.lose(new HostError('CONNECTION_REFUSED', 'there is no way to the other side'));
  }

  close(): void {
    this.#closed = true;
    this.#depth++;
    for (const connection of this.#table.all()) {
      connection.abort(new HostError('CONNECTION_RESET', 'the network was closed'));
    }
    this.#depth--;
    this.#flush();
    this.#deadlines.clear();
  }

  wake(connection: Connection): void {
    this.#ready(connection);
    this.#flush();
  }

  schedule(connection: Connection): void {
    this.#deadlines.file(connection);
  }

  moved(connection: Connection, from: State): void {
    const { state } = connection;
    if (from === 'SYN-RECEIVED' || (from === 'REQUESTED' && state === 'CLOSED')) {
      this.#halfOpen.delete(connection);
    }
    if (state === 'TIME-WAIT') this.#waiting.add(connection);
    if (state !== 'CLOSED') return;
    this.#waiting.delete(connection);
    this.#table.remove(connection);
    this.#deadlines.remove(connection);
  }

  sendReset(connection: Connection, sequence: number, acknowledges: boolean): void {
    const { local, remote, receiver, pseudoHeader } = connection;
    this.#reset({
      local,
      remote,
      pseudoHeader,
      sequence,
      acknowledgment: acknowledges ? receiver.sequence(receiver.next) : 0,
      flags: acknowledges ? flag.RST | flag.ACK : flag.RST,
    });
  }

  #reset(stray: Stray): void {
    this.counters.resetsOut++;
    this.#strays.add(stray);
    this.#flush();
  }

  /** A segment of no connection: a SYN asks for one, everything else is answered by a reset (RFC 9293, 3.10.7.1). */
  #arriveNowhere(packet: TcpPacketIn, segment: Segment): void {
    if (segment.has(flag.RST)) return;
    const local = { address: packet.destination.slice(), port: segment.destinationPort };
    const remote = { address: packet.source.slice(), port: segment.sourcePort };
    if ((segment.flags & (flag.SYN | flag.ACK)) === flag.SYN) {
      // A FIN beside it is no request that anybody would make.
      if (!segment.has(flag.FIN)) this.#arriveRequest(local, remote, segment);
      return;
    }
    const pseudoHeader = sumOf(local, remote);
    if (segment.has(flag.ACK)) {
      const sequence = segment.acknowledgment;
      this.#reset({ local, remote, pseudoHeader, sequence, acknowledgment: 0, flags: flag.RST });
      return;
    }
    const acknowledgment = (segment.sequence + segment.sequenceLength) | 0;
    const flags = flag.RST | flag.ACK;
    this.#reset({ local, remote, pseudoHeader, sequence: 0, acknowledgment, flags });
  }

  /** Something of a peer whose request is not answered yet: the same again, another one, or a change of mind. */
  #arriveAgain(connection: Connection, packet: TcpPacketIn, segment: Segment): void {
    const { receiver } = connection;
    const position = receiver.position(segment.sequence);
    if (segment.has(flag.RST)) {
      if (position === receiver.next) connection.lose(gaveUp());
    } else if (segment.has(flag.SYN) && position !== 0) {
      connection.lose(gaveUp());
      this.#arriveNowhere(packet, segment);
    }
  }

  #arriveRequest(local: TcpAddress, remote: TcpAddress, segment: Segment): void {
    if (this.#halfOpen.size >= this.#limits.halfOpen) {
      const [oldest] = this.#halfOpen;
      this.counters.overflows++;
      oldest?.lose(new HostError('CONNECTION_RESET', 'others asked for connections meanwhile'));
    }
    if (!this.#hasRoom()) {
      this.counters.overflows++;
      return;
    }
    const connection = this.#open('REQUESTED', local, remote);
    takeSyn(connection, segment, this.#clock.now());
    this.#halfOpen.add(connection);
    const request = new Request(connection, this.#limits.sendBuffer);
    if (this.onConnect === undefined) request.refuse();
    else this.onConnect(request);
  }

  #begin(local: TcpAddress, remote: TcpAddress): Connection {
    if (this.#closed) throw new UsageError('BAD_STATE', 'the network was closed');
    checkAddress(local, remote, 0);
    checkAddress(remote, local, 1);
    if (!this.#hasRoom()) {
      throw new UsageError('QUEUE_FULL', `there are ${this.#limits.connections} connections`);
    }
    const port = local.port === 0 ? this.#freePort(local, remote) : local.port;
    if (this.#table.find(local.address, port, remote.address, remote.port) !== undefined) {
      throw new UsageError(
        'BAD_ARGUMENT',
        `port ${port} is connected to port ${remote.port} of that address`,
      );
    }
    const from = { address: local.address.slice(), port };
    return this.#open('SYN-SENT', from, { address: remote.address.slice(), port: remote.port });
  }

  #open(state: 'REQUESTED' | 'SYN-SENT', local: TcpAddress, remote: TcpAddress): Connection {
    const hash = this.#hash.begin().bytes(local.address).bytes(remote.address);
    const first = hash.word((local.port << 16) | remote.port).end();
    const timestampOffset = this.#hash.begin().word(first).word(0x7473).end();
    const connection = new Connection(state, local, remote, this, {
      // RFC 9293, 3.4.1: a clock of 4 microseconds a step, from where only we know for each pair of addresses and ports.
      first: (first + Math.floor(this.#clock.now() * 250)) | 0,
      timestampOffset,
      segment: this.mtu - (local.address.length === 4 ? headers4 : headers6),
      receiveBuffer: this.#limits.receiveBuffer,
      pseudoHeader: sumOf(local, remote),
    });
    this.#table.add(connection);
    return connection;
  }

  /** Makes room for a connection, by one in TIME-WAIT that ends early, if need be. */
  #hasRoom(): boolean {
    if (this.#table.size < this.#limits.connections) return true;
    const [oldest] = this.#waiting;
    oldest?.move('CLOSED');
    return oldest !== undefined;
  }

  /** A port that nobody guesses who does not know our key (RFC 6056, algorithm 3). */
  #freePort(local: TcpAddress, remote: TcpAddress): number {
    const from = this.#hash.begin().bytes(local.address).bytes(remote.address).word(remote.port).end() >>> 0;
    for (let i = 0; i < ports; i++) {
      const port = firstPort + ((from + this.#portsGiven++) % ports);
      if (this.#table.find(local.address, port, remote.address, remote.port) === undefined) return port;
    }
    throw new UsageError('QUEUE_FULL', 'every port is connected there');
  }

  /** The connection of a segment of ours that is under way (RFC 5927, 4: others are not believed). */
  #quoted({ source, destination, bytes, offset }: QuotedSegment): Connection | undefined {
    if (offset + 8 > bytes.length) return undefined;
    const port = get16(bytes, offset);
    const connection = this.#table.find(source, port, destination, get16(bytes, offset + 2));
    if (connection === undefined) return undefined;
    const { sender } = connection;
    const position = sender.position(readI32(bytes, offset + 4));
    return position >= sender.unacknowledged && position < sender.next ? connection : undefined;
  }

  #ready(connection: Connection): void {
    if (connection.isReady) return;
    connection.isReady = true;
    if (this.#lastReady === undefined) this.#firstReady = connection;
    else this.#lastReady.nextReady = connection;
    this.#lastReady = connection;
  }

  /** Sends what there is to send: of each connection one piece in turn, as long as there is room. */
  #flush(atOnce = false): void {
    if (this.#depth > 0 || this.#sending || this.#wire.blocked || (this.#follow && !atOnce)) return;
    if (this.#firstReady === undefined && this.#strays.empty) return;
    this.#sending = true;
    this.#depth++;
    try {
      // What is told at the end of a batch may be answered at once, and the answer have an answer.
      do this.#sendBatch();
      while (!this.#wire.blocked && (this.#firstReady !== undefined || !this.#strays.empty));
    } finally {
      this.#depth--;
      this.#sending = false;
    }
  }

  #sendBatch(): void {
    const now = this.#clock.now();
    this.#more(true);
    try {
      while (!this.#wire.blocked && this.#strays.sendOne());
      while (!this.#wire.blocked && this.#firstReady !== undefined) {
        const connection = this.#firstReady;
        this.#firstReady = connection.nextReady;
        if (this.#firstReady === undefined) this.#lastReady = undefined;
        connection.nextReady = undefined;
        connection.isReady = false;
        if (this.#output.turn(connection, now)) this.#ready(connection);
        while (!this.#wire.blocked && this.#strays.sendOne());
      }
    } finally {
      this.#more(false);
    }
  }
}

const gaveUp = (): HostError => new HostError('CONNECTION_RESET', 'the other side has given up');

/** True when its checksum is right, or nobody asks. */
function isWhole({ source, destination, bytes, offset, length, offload }: TcpPacketIn): boolean {
  if (offload.checksumValid || offload.needsChecksum) return true;
  const addresses = internetSum(source, 0, source.length) + internetSum(destination, 0, destination.length);
  return internetSum(bytes, offset, offset + length, addresses + tcpProtocol + length) === 0xffff;
}

/** The part of a pseudo header's sum that is the same for all segments of a connection. */
function sumOf(local: TcpAddress, remote: TcpAddress): number {
  const { length } = local.address;
  return internetSum(local.address, 0, length) + internetSum(remote.address, 0, length) + tcpProtocol;
}

function checkAddress({ address, port }: TcpAddress, other: TcpAddress, leastPort: number): void {
  const { length } = address;
  if ((length !== 4 && length !== 16) || length !== other.address.length) {
    throw new UsageError(
      'BAD_ARGUMENT',
      `addresses of ${length} and ${other.address.length} bytes: give 4 or 16, both`,
    );
  }
  if (!Number.isInteger(port) || port < leastPort || port > 0xffff) {
    throw new UsageError('BAD_ARGUMENT', `${port} is no port`);
  }
}

function checkLimits(limits: TcpLimits): TcpLimits {
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isSafeInteger(value) || value < 1)
      throw new UsageError('BAD_ARGUMENT', `${name} cannot be ${value}`);
  }
  if (limits.receiveBuffer > 2 ** 30) {
    throw new UsageError('BAD_ARGUMENT', 'a window has at most 1 GiB: give a smaller receiveBuffer');
  }
  return limits;
}

function checkMtu(mtu: number): void {
  if (!Number.isInteger(mtu) || mtu < 576 || mtu > 0xffff) {
    throw new UsageError('BAD_ARGUMENT', `an MTU of ${mtu} bytes: give 576 to 65,535`);
  }
}
