import { get16, get32 } from '../link/bytes.ts';
import { internetChecksum, type Offload } from '../link/index.ts';
import { ipProtocol, ipv4Header, ipv6Header } from '../link/numbers.ts';
import { Reassembly } from './fragments.ts';
import type { IcmpErrors } from './icmp-errors.ts';
import { IpPacket } from './ip-packet.ts';
import type { Settings } from './options.ts';
import type { Plan } from './plan.ts';
import type { Statistics } from './statistics.ts';

/** Headers between that of IPv6 and the payload, and bytes of them. */
const mostExtensions = 8;
const mostExtensionBytes = 512;

/** What may send to us. */
export type SenderCheck = Pick<Plan, 'isGuest' | 'isMany'>;

/** Whoever hears of packets that are wrong. */
export type ErrorReports = Pick<IcmpErrors, 'report' | 'reportQuoted'>;

/** Reads packets of IP: checks headers, puts fragments together, and hands on what is whole. */
export class IpReceiver {
  readonly #packet = new IpPacket();
  readonly #statistics: Statistics;
  readonly #plan: SenderCheck;
  readonly #errors: ErrorReports;
  readonly #deliver: (packet: IpPacket) => void;
  readonly #seen: (address: Uint8Array, frame: Uint8Array) => void;
  readonly reassembly: Reassembly;

  /** `seen` hears which station uses an address; `deliver` is given packets, lent until it returns. */
  constructor(
    settings: Pick<Settings, 'clock'>,
    statistics: Statistics,
    plan: SenderCheck,
    errors: ErrorReports,
    seen: (address: Uint8Array, frame: Uint8Array) => void,
    deliver: (packet: IpPacket) => void,
  ) {
    this.#statistics = statistics;
    this.#plan = plan;
    this.#errors = errors;
    this.#seen = seen;
    this.#deliver = deliver;
    this.reassembly = new Reassembly(settings.clock, statistics, (version, first) => {
      const source = version === 4 ? first.slice(12, 16) : first.slice(8, 24);
      errors.reportQuoted(first, source, 'reassembly-time');
    });
  }

  /** A frame of IPv4, whose packet begins at `start`. */
  receive4(frame: Uint8Array, start: number, offload: Offload): void {
    const left = frame.length - start;
    if (left < ipv4Header) {
      this.#statistics.drop('truncated');
      return;
    }
    const header = (frame[start]! & 0x0f) * 4;
    const total = get16(frame, start + 2);
    if (frame[start]! >> 4 !== 4 || header < ipv4Header || total < header) {
      this.#statistics.drop('malformed');
      return;
    }
    if (total > left) {
      this.#statistics.drop('truncated');
      return;
    }
    if (internetChecksum(frame, start, start + header) !== 0) {
      this.#statistics.drop('bad-checksum');
      return;
    }
    const packet = this.#packet;
    packet.setAddresses(4, frame, start + 12);
    if (!this.#begin(packet, frame, offload)) return;
    packet.start = start;
    packet.offset = start + header;
    packet.length = total - header;
    packet.hopLimit = frame[start + 8]!;
    packet.protocol = frame[start + 9]!;
    const field = get16(frame, start + 6);
    const offset = (field & 0x1fff) * 8;
    const more = (field & 0x2000) !== 0;
    if (offset === 0 && !more) {
      this.#deliver(packet);
      return;
    }
    // Nothing looks into a fragment, so that small or late first ones (RFC 1858, RFC 7112) gain nobody anything.
    const identification = get16(frame, start + 4);
    if (this.reassembly.add(packet, { offset, more, identification, protocol: packet.protocol })) {
      this.#deliver(packet);
    }
  }

  /** A frame of IPv6, whose packet begins at `start`. */
  receive6(frame: Uint8Array, start: number, offload: Offload): void {
    const left = frame.length - start;
    if (left < ipv6Header) {
      this.#statistics.drop('truncated');
      return;
    }
    const length = get16(frame, start + 4);
    if (frame[start]! >> 4 !== 6) {
      this.#statistics.drop('malformed');
      return;
    }
    if (ipv6Header + length > left) {
      this.#statistics.drop('truncated');
      return;
    }
    const packet = this.#packet;
    packet.setAddresses(6, frame, start + 8);
    if (!this.#begin(packet, frame, offload)) return;
    packet.start = start;
    packet.offset = start + ipv6Header;
    packet.length = length;
    packet.hopLimit = frame[start + 7]!;
    packet.protocol = frame[start + 6]!;
    if (this.#extensions(packet, true)) this.#deliver(packet);
  }

  #begin(packet: IpPacket, frame: Uint8Array, offload: Offload): boolean {
    packet.bytes = frame;
    packet.offload = offload;
    packet.toMany = (frame[0]! & 1) !== 0 || this.#plan.isMany(packet.destination);
    const { source } = packet;
    if (this.#plan.isGuest(source)) {
      this.#seen(source, frame);
      return true;
    }
    if (source.every((byte) => byte === 0)) return true;
    this.#statistics.drop('bad-source');
    return false;
  }

  /** Walks over the headers between that of IPv6 and the payload. False when nothing is to be delivered. */
  #extensions(packet: IpPacket, first: boolean): boolean {
    const { start } = packet;
    // Of the field that names the header that is being looked at.
    let pointer = 6;
    for (let count = 0; ; count++) {
      const { bytes, offset, length, protocol: kind } = packet;
      if (kind === ipProtocol.NO_NEXT_HEADER) return false;
      if (
        kind !== ipProtocol.DESTINATION_OPTIONS &&
        kind !== ipProtocol.ROUTING &&
        kind !== ipProtocol.FRAGMENT
      ) {
        if (kind !== ipProtocol.HOP_BY_HOP) return true;
        // It comes first or not at all: RFC 8200, 4.1.
        if (count > 0 || !first) return this.#bad(packet, 'protocol-unreachable', pointer);
      }
      if (count === mostExtensions || offset - start - ipv6Header > mostExtensionBytes)
        return this.#drop('limit');
      if (length < 8) return this.#drop('truncated');
      const size = kind === ipProtocol.FRAGMENT ? 8 : 8 + 8 * bytes[offset + 1]!;
      if (size > length) return this.#drop('truncated');
      if (kind === ipProtocol.FRAGMENT) {
        if (!first) return this.#drop('malformed');
        return this.#fragment(packet);
      }
      if (kind === ipProtocol.ROUTING) {
        // A router that is asked to send on by a list of stations does not: RFC 5095. Without stations left it is harmless.
        if (bytes[offset + 3] !== 0) return this.#bad(packet, 'bad-header', offset + 2 - start);
      } else if (!this.#options(packet, size)) return false;
      pointer = offset - start;
      packet.protocol = bytes[offset]!;
      packet.offset += size;
      packet.length -= size;
    }
  }

  /** Options that nobody knows say themselves what is to become of their packet: RFC 8200, 4.2. */
  #options(packet: IpPacket, size: number): boolean {
    const { bytes, offset } = packet;
    const end = offset + size;
    for (let at = offset + 2; at < end; ) {
      const type = bytes[at]!;
      if (type === 0) {
        at++;
        continue;
      }
      if (at + 2 > end || at + 2 + bytes[at + 1]! > end) return this.#drop('malformed');
      // Padding and the router alert are known; of others the two upper bits count.
      if (type !== 1 && type !== 5 && type >> 6 !== 0) {
        if (type >> 6 === 1 || (type >> 6 === 3 && packet.toMany)) return this.#drop('malformed');
        return this.#bad(packet, 'bad-option', at - packet.start);
      }
      at += 2 + bytes[at + 1]!;
    }
    return true;
  }

  #fragment(packet: IpPacket): boolean {
    const { bytes, offset, start } = packet;
    const field = get16(bytes, offset + 2);
    const next = bytes[offset]!;
    const piece = {
      offset: field & 0xfff8,
      more: (field & 1) !== 0,
      identification: get32(bytes, offset + 4),
      protocol: next,
    };
    packet.offset += 8;
    packet.length -= 8;
    if (piece.more && (packet.length & 7) !== 0) return this.#bad(packet, 'bad-header', 4);
    if (piece.offset + packet.length > 65_535) return this.#bad(packet, 'bad-header', offset + 2 - start);
    // One that is whole in a single fragment has nothing to do with others: RFC 6946.
    if (piece.offset === 0 && !piece.more) packet.protocol = next;
    else if (!this.reassembly.add(packet, piece)) return false;
    return this.#extensions(packet, false);
  }

  #bad(
    packet: IpPacket,
    error: 'protocol-unreachable' | 'bad-header' | 'bad-option',
    pointer: number,
  ): false {
    this.#errors.report(packet, error, pointer);
    return this.#drop('malformed');
  }

  #drop(reason: 'truncated' | 'malformed' | 'limit'): false {
    this.#statistics.drop(reason);
    return false;
  }
}
