import { finished } from '../../link/index.ts';
import { flag, leastHeader } from './header.ts';
import type { TcpHandler, TcpOptions, TcpSegmentOut, TcpStream } from './interface.ts';
import { writeMss, writeSack, writeSackPermitted, writeTimestamps, writeWindowScale } from './options.ts';
import { type Segment, writeHeader } from './segment.ts';
import { addressA, addressB, packet, packetsOf, SimulatedClock, seededBytes } from './simulation.fixture.ts';
import { TcpStack } from './stack.ts';

const letters = { S: flag.SYN, F: flag.FIN, R: flag.RST, P: flag.PSH, A: flag.ACK, U: flag.URG } as const;

/** What a hand-made segment has in it. Numbers of the sequence count from each side's SYN, which is 0. */
export interface Made {
  readonly seq?: number;
  readonly ack?: number;
  readonly window?: number;
  /** The payload, or how many bytes of one that counts up. */
  readonly data?: Uint8Array | number;
  readonly mss?: number;
  readonly scale?: number;
  readonly sackPermitted?: boolean;
  readonly timestamps?: readonly [number, number];
  readonly sack?: readonly (readonly [number, number])[];
  /** Port of the peer, when it is not the usual one. */
  readonly port?: number;
  /** The peer's first sequence number, when it is not the usual one. */
  readonly first?: number;
}

/** A stack, and a peer whose every segment is made by hand. */
export class Peer {
  readonly clock = new SimulatedClock();
  readonly stack: TcpStack;
  /** Cleared by `take`. */
  readonly sent: Segment[] = [];
  readonly payloads: Uint8Array[] = [];
  readonly pieces: { length: number; segmentSize: number }[] = [];
  /** The first sequence numbers: the peer's, and ours once it is known. */
  readonly first = 0xffff_fff0 | 0;
  ours = 0;
  port = 4000;
  localPort = 80;
  /** When false there is no room on the link. */
  room = true;

  constructor(options: Partial<TcpOptions> = {}) {
    this.stack = new TcpStack({
      clock: this.clock,
      random: seededBytes(7),
      send: (segment) => this.carry(segment),
      ...options,
    });
  }

  /** Takes what the stack sends. */
  carry(out: TcpSegmentOut): boolean {
    if (!this.room) return false;
    this.pieces.push({ length: out.length - out.headerLength, segmentSize: out.segmentSize });
    for (const one of packetsOf(out)) {
      if (one.segment.has(flag.SYN)) {
        this.ours = one.segment.sequence;
        this.localPort = one.segment.sourcePort;
      }
      this.sent.push(one.segment);
      this.payloads.push(one.bytes.slice(one.segment.payloadAt));
    }
    return true;
  }

  /** The bytes of a segment as `send` has it. */
  make(flags: string, made: Made = {}): Uint8Array {
    const { seq = 1, ack = 1, window = 65_535, data = 0, first = this.first } = made;
    const payload = typeof data === 'number' ? Uint8Array.from({ length: data }, (_, i) => seq + i) : data;
    const bytes = new Uint8Array(60 + payload.length);
    let at = leastHeader;
    if (made.mss !== undefined) at = writeMss(bytes, at, made.mss);
    if (made.scale !== undefined) at = writeWindowScale(bytes, at, made.scale);
    if (made.sackPermitted === true) at = writeSackPermitted(bytes, at);
    if (made.timestamps !== undefined) at = writeTimestamps(bytes, at, ...made.timestamps);
    if (made.sack !== undefined) {
      const blocks = Int32Array.from(made.sack.flat(), (position) => this.ours + position);
      at = writeSack(bytes, at, blocks, made.sack.length);
    }
    bytes.set(payload, at);
    let bits = 0;
    for (const letter of flags) bits |= letters[letter as keyof typeof letters]; // tests write letters that there are
    const fields = {
      sourcePort: made.port ?? this.port,
      destinationPort: this.localPort,
      sequence: first + seq,
      acknowledgment: flags.includes('A') ? this.ours + ack : 0,
      flags: bits,
      window,
    };
    writeHeader(bytes, 0, fields, at, 0);
    return bytes.slice(0, at + payload.length);
  }

  /** A segment of the peer arrives. */
  send(flags: string, made: Made = {}): void {
    this.stack.receive(packet(addressB, addressA, this.make(flags, made)));
  }

  /** One that was put together from segments of so many bytes arrives. */
  sendLarge(segmentSize: number, flags: string, made: Made = {}): void {
    const one = packet(addressB, addressA, this.make(flags, made));
    this.stack.receive({ ...one, offload: { ...finished, checksumValid: true, segmentSize } });
  }

  /** What was sent since the last time: flags, place and length, what it acknowledges, and SACK blocks. */
  take(): string[] {
    const lines = this.sent.map((segment) => this.describe(segment));
    this.sent.length = 0;
    this.payloads.length = 0;
    this.pieces.length = 0;
    return lines;
  }

  describe(segment: Segment): string {
    const names = (Object.keys(letters) as (keyof typeof letters)[]) // keys of a literal
      .filter((letter) => segment.has(letters[letter]))
      .join('');
    const from = (segment.sequence - this.ours) | 0;
    const range = segment.payloadLength > 0 ? `${from}+${segment.payloadLength}` : `${from}`;
    const ack = segment.has(flag.ACK) ? ` ${(segment.acknowledgment - this.first) | 0}` : '';
    let line = `${names} ${range}${ack}`;
    const { options } = segment;
    for (let i = 0; i < options.sackBlocks; i++) {
      line += ` [${(options.sack[2 * i]! - this.first) | 0},${(options.sack[2 * i + 1]! - this.first) | 0})`;
    }
    return line;
  }

  /** The last segment that was sent. */
  get last(): Segment {
    return this.sent.at(-1)!;
  }

  /** The window that was told last, in bytes. */
  window(shift = 0): number {
    return this.last.window * 2 ** shift;
  }

  /** Opens a connection that the peer asks for. What was sent meanwhile is forgotten. */
  open(syn: Made = {}, hear: Partial<TcpHandler> = {}): { stream: TcpStream; heard: Heard } {
    let stream: TcpStream | undefined;
    this.stack.onConnect = (request) => {
      stream = request.accept();
    };
    this.send('S', { seq: 0, mss: 1460, ...syn });
    const heard = new Heard(hear);
    stream!.handle(heard);
    const { scale: _scale, sackPermitted: _permitted, mss: _mss, ...rest } = syn;
    const stamps = this.sent.at(-1)?.options;
    const timestamps =
      syn.timestamps === undefined ? {} : { timestamps: [syn.timestamps[0], stamps!.timestamp] as const };
    this.send('A', {
      ...rest,
      ...timestamps,
      window: Math.min((syn.window ?? 65_535) / 2 ** (syn.scale ?? 0), 65_535),
    });
    this.take();
    return { stream: stream!, heard };
  }
}

/** Takes down all that it hears. */
export class Heard implements TcpHandler {
  readonly bytes: number[] = [];
  ended = false;
  rooms = 0;
  over: { failure: Error | undefined } | undefined;
  readonly #hear: Partial<TcpHandler>;

  constructor(hear: Partial<TcpHandler>) {
    this.#hear = hear;
  }

  data(bytes: Uint8Array): number {
    const taken = this.#hear.data?.(bytes) ?? bytes.length;
    for (let i = 0; i < taken; i++) this.bytes.push(bytes[i]!);
    return taken;
  }

  end(): void {
    this.ended = true;
    this.#hear.end?.();
  }

  writable(): void {
    this.rooms++;
    this.#hear.writable?.();
  }

  closed(failure: Error | undefined): void {
    this.over = { failure };
    this.#hear.closed?.(failure);
  }
}
