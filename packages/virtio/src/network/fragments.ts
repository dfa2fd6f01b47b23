import { finished } from '../link/index.ts';
import { addressKey } from './address.ts';
import type { IpPacket } from './ip-packet.ts';
import type { Statistics } from './statistics.ts';
import type { Clock } from './tcp/index.ts';

/** Datagrams that are put together at a time, in all and of one source; the oldest makes room. */
const mostDatagrams = 64;
const mostOfSource = 16;
/** Fragments of a datagram. The smallest link that there is has enough of them for the largest datagram. */
const mostPieces = 128;
/** Bytes that are held, what it costs to hold them included. */
const mostBytes = 1 << 20;
const costOfPiece = 256;
/** Milliseconds after which a datagram is given up. RFC 791 says 15 s and more, RFC 8200 says 60 s. */
const patience = { 4: 30_000, 6: 60_000 } as const;

/** A part of a datagram. */
export interface Piece {
  /** Where it begins in the datagram's payload. */
  readonly offset: number;
  readonly more: boolean;
  readonly identification: number;
  /** The protocol of the payload, as this fragment says. */
  readonly protocol: number;
}

/** A fragment that came. */
interface Fragment {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

interface Datagram {
  readonly key: string;
  readonly source: string;
  readonly pieces: Fragment[];
  /** Bytes of payload that are there. */
  have: number;
  /** Bytes of payload in all; -1 until the last fragment came. */
  total: number;
  /** Of the first fragment. */
  protocol: number;
  /** The headers of IP of the first fragment; `undefined` until it came. */
  headers: Uint8Array | undefined;
  /** A fragment overlapped another: nothing of it is believed, and what else comes of it is thrown away. */
  broken: boolean;
  stop: () => void;
}

/**
 * Puts fragments together again. What fragments overlap is given up as a whole, for IPv4 as RFC 5722 has it for IPv6; one
 * that merely comes again is ignored. Everything is bounded: datagrams, their fragments, the bytes, the time.
 */
export class Reassembly {
  readonly #clock: Clock;
  readonly #statistics: Statistics;
  readonly #expired: (version: 4 | 6, first: Uint8Array) => void;
  readonly #datagrams = new Map<string, Datagram>();
  readonly #bySource = new Map<string, number>();
  #bytes = 0;

  /** `expired` hears of a datagram whose first fragment came and whose others did not: that packet of IP is lent to it. */
  constructor(clock: Clock, statistics: Statistics, expired: (version: 4 | 6, first: Uint8Array) => void) {
    this.#clock = clock;
    this.#statistics = statistics;
    this.#expired = expired;
  }

  /** Bytes that are held, what it costs to hold them included. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes the fragment that `packet` is. When it completes its datagram, makes `packet` that one, and returns true.
   */
  add(packet: IpPacket, piece: Piece): boolean {
    const { version, length } = packet;
    const { offset, more } = piece;
    const source = addressKey(packet.source);
    const number = String.fromCharCode(piece.identification >>> 16, piece.identification & 0xffff);
    // Of IPv4 the protocol belongs to the name of a datagram, of IPv6 only the first fragment's counts.
    const key = `${source}${addressKey(packet.destination)}${number}${version === 4 ? piece.protocol : ''}`;
    if (length === 0 || (more && (length & 7) !== 0) || offset + length > 65_535) return this.#dropPiece();
    const datagram = this.#datagrams.get(key) ?? this.#begin(key, source, version);
    if (datagram.broken) return this.#dropPiece();
    const known = datagram.pieces.find((other) => other.offset === offset && other.bytes.length === length);
    if (known !== undefined) return this.#dropPiece();
    const end = offset + length;
    const overlaps = datagram.pieces.some(
      (other) => other.offset < end && offset < other.offset + other.bytes.length,
    );
    const beyond = datagram.total !== -1 && (more ? end > datagram.total : end !== datagram.total);
    const short = !more && datagram.pieces.some((other) => other.offset + other.bytes.length > end);
    if (overlaps || beyond || short || datagram.pieces.length === mostPieces) {
      this.#break(datagram);
      return this.#dropPiece();
    }
    datagram.pieces.push({ offset, bytes: packet.bytes.slice(packet.offset, packet.offset + length) });
    datagram.have += length;
    this.#bytes += length + costOfPiece;
    if (!more) datagram.total = end;
    if (offset === 0) {
      datagram.protocol = piece.protocol;
      datagram.headers = packet.bytes.slice(packet.start, packet.offset);
    }
    if (datagram.have === datagram.total) {
      this.#join(datagram, packet);
      return true;
    }
    while (this.#bytes > mostBytes) this.#dropOldest();
    return false;
  }

  /** Gives up everything that is not whole. */
  clear(): void {
    for (const datagram of [...this.#datagrams.values()]) this.#remove(datagram);
  }

  #begin(key: string, source: string, version: 4 | 6): Datagram {
    const ofSource = this.#bySource.get(source) ?? 0;
    if (ofSource >= mostOfSource) this.#dropOldest(source);
    else if (this.#datagrams.size >= mostDatagrams) this.#dropOldest();
    const datagram: Datagram = {
      key,
      source,
      pieces: [],
      have: 0,
      total: -1,
      protocol: 0,
      headers: undefined,
      broken: false,
      stop: this.#clock.setTimer(patience[version], () => {
        this.#remove(datagram);
        if (datagram.broken) return;
        this.#statistics.drop('fragment');
        const first = datagram.pieces.find(({ offset }) => offset === 0);
        if (first !== undefined)
          this.#expired(version, joined(datagram.headers, [first], first.bytes.length));
      }),
    };
    this.#datagrams.set(key, datagram);
    this.#bySource.set(source, (this.#bySource.get(source) ?? 0) + 1);
    return datagram;
  }

  #join(datagram: Datagram, packet: IpPacket): void {
    this.#remove(datagram);
    packet.bytes = joined(datagram.headers, datagram.pieces, datagram.total);
    packet.start = 0;
    packet.offset = packet.bytes.length - datagram.total;
    packet.length = datagram.total;
    packet.protocol = datagram.protocol;
    packet.offload = finished;
  }

  #dropPiece(): false {
    this.#statistics.drop('fragment');
    return false;
  }

  #dropOldest(source?: string): void {
    for (const datagram of this.#datagrams.values()) {
      if (source !== undefined && datagram.source !== source) continue;
      this.#remove(datagram);
      this.#statistics.drop('fragment');
      return;
    }
  }

  /** Frees what a datagram holds, and remembers for the rest of its time that it is not to be believed. */
  #break(datagram: Datagram): void {
    this.#free(datagram);
    datagram.pieces.length = 0;
    datagram.headers = undefined;
    datagram.broken = true;
  }

  #free(datagram: Datagram): void {
    for (const { bytes } of datagram.pieces) this.#bytes -= bytes.length + costOfPiece;
  }

  #remove(datagram: Datagram): void {
    datagram.stop();
    this.#free(datagram);
    this.#datagrams.delete(datagram.key);
    const left = (this.#bySource.get(datagram.source) ?? 1) - 1;
    if (left === 0) this.#bySource.delete(datagram.source);
    else this.#bySource.set(datagram.source, left);
  }
}

/** A packet: the headers, and behind them the fragments where they belong. */
function joined(headers: Uint8Array | undefined, pieces: readonly Fragment[], length: number): Uint8Array {
  const start = headers?.length ?? 0;
  const whole = new Uint8Array(start + length);
  if (headers !== undefined) whole.set(headers);
  for (const { offset, bytes } of pieces) whole.set(bytes, start + offset);
  return whole;
}
