import { get32, put16 } from '../link/bytes.ts';
import { PacketHeaders } from '../link/headers.ts';
import { setPacketLength } from '../link/ip-header.ts';
import { etherType, ipProtocol } from '../link/numbers.ts';
import { type EspAssociation, espTrailerLength } from './association.ts';
import { congestion, packetLength, setTrafficClass, trafficClass } from './ip-fields.ts';
import { Lifetime } from './lifetime.ts';
import type { EspPacket } from './packet.ts';
import { ReplayWindow } from './replay.ts';
import { espHeaderLength } from './transform.ts';

/** Bytes in front of an opened frame: what is in front of the text is longer than what is in front of the packet. */
const headroom = 32;

/** Room for frames that are being opened, one at a time. */
export class OpeningRoom {
  readonly bytes: Uint8Array;

  /** For frames of up to so many bytes. */
  constructor(largest: number) {
    this.bytes = new Uint8Array(headroom + largest);
  }
}

/** What an inbound association has come to. */
export interface InboundState {
  readonly highest: number;
  readonly numbers: readonly number[];
  readonly packets: number;
  readonly bytes: number;
}

const nothing: Uint8Array = new Uint8Array(0);

/** Decrypts packets of one association, one after the other. */
export class EspInbound {
  /** What the last packet became: lent until the next one. Empty for one that is to be dropped: it says that it holds nothing. */
  frame: Uint8Array = nothing;
  /** Why the last packet was not opened. */
  refusal = '';
  readonly #association: EspAssociation;
  readonly #lifetime: Lifetime;
  readonly #window: ReplayWindow;
  readonly #inner = new PacketHeaders();
  #sequence = 0;
  #length = 0;

  constructor(association: EspAssociation) {
    this.#association = association;
    this.#lifetime = new Lifetime(association.lifetime);
    this.#window = new ReplayWindow(association.replayWindow, association.extended);
  }

  get softExpired(): boolean {
    return this.#lifetime.soft;
  }

  get state(): InboundState {
    const { packets, bytes } = this.#lifetime;
    return { highest: this.#window.highest, numbers: this.#window.numbers(), packets, bytes };
  }

  restore({ highest, numbers, packets, bytes }: InboundState): void {
    this.#window.restore(highest, numbers);
    this.#lifetime.packets = packets;
    this.#lifetime.bytes = bytes;
  }

  /**
   * Decrypts the packet in a frame; `where` was read from it. True when `frame` is what it became. Nothing is counted until
   * `taken`: a packet that nobody has room for may come once more.
   */
  open(frame: Uint8Array, where: EspPacket, { bytes: room }: OpeningRoom): boolean {
    const { transform, mode, udp } = this.#association;
    const { espAt, end, port } = where;
    if (port !== (udp?.destination ?? 0)) return this.#refuse('is not encapsulated as its association is');
    const textAt = espAt + espHeaderLength + transform.ivLength;
    const text = end - textAt - transform.icvLength;
    if (text < espTrailerLength || text % transform.alignment !== 0) return this.#refuse('is cut short');
    const sequence = this.#window.whole(get32(frame, espAt + 4));
    if (!this.#window.accepts(sequence)) return this.#refuse('was seen before, or is too old');
    if (!this.#lifetime.allows(0)) return this.#refuse('comes when its association has expired');
    const { networkAt, transportAt } = where.headers;
    const payloadAt = headroom + (mode === 'tunnel' ? networkAt : transportAt);
    const from = payloadAt - (textAt - espAt);
    if (payloadAt + end - textAt > room.length) return this.#refuse('is larger than any can be');
    const packet = room.subarray(from, from + end - espAt);
    packet.set(frame.subarray(espAt, end));
    if (!transform.open(packet, sequence)) return this.#refuse('is not authentic');
    const trailerAt = payloadAt + text - espTrailerLength;
    const payload = text - espTrailerLength - room[trailerAt]!;
    if (payload < 0) return this.#refuse('has more padding than text');
    this.#sequence = sequence;
    const next = room[trailerAt + 1]!;
    if (next === ipProtocol.NO_NEXT_HEADER) {
      this.#length = 0;
      this.frame = nothing;
      return true;
    }
    return mode === 'tunnel'
      ? this.#openTunnel(frame, where.headers, room, payload, next)
      : this.#openTransport(frame, where.headers, room, payload, next);
  }

  /** What was opened last was taken. */
  taken(): void {
    this.#window.came(this.#sequence);
    this.#lifetime.count(this.#length);
  }

  #openTunnel(
    frame: Uint8Array,
    outer: PacketHeaders,
    room: Uint8Array,
    payload: number,
    next: number,
  ): boolean {
    const { networkAt } = outer;
    const inner = this.#inner;
    if (next !== ipProtocol.IPV4 && next !== ipProtocol.IPV6)
      return this.#refuse('holds no packet, in tunnel mode');
    const opened = room.subarray(headroom, headroom + networkAt + payload);
    opened.set(frame.subarray(0, networkAt));
    const version = next === ipProtocol.IPV4 ? 4 : 6;
    if (!inner.read(opened, networkAt) || inner.version !== version) {
      return this.#refuse('holds a packet that is none');
    }
    const length = packetLength(opened, inner);
    if (length < 0) return this.#refuse('holds a packet that is cut short');
    if (!this.#lifetime.allows(length)) return this.#refuse('comes when its association has expired');
    if (this.#association.ecn && !this.#tellCongestion(frame, outer, opened, version)) return false;
    put16(opened, networkAt - 2, version === 4 ? etherType.IPV4 : etherType.IPV6);
    this.#length = length;
    // What is behind the packet hides its length, and is not part of it.
    this.frame = opened.subarray(0, networkAt + length);
    return true;
  }

  /** RFC 6040, 4.2. False for a packet that must not be let through. */
  #tellCongestion(frame: Uint8Array, outer: PacketHeaders, opened: Uint8Array, version: 4 | 6): boolean {
    const { networkAt } = outer;
    const told = trafficClass(frame, networkAt, outer.version) & 3;
    const inner = trafficClass(opened, networkAt, version);
    const own = inner & 3;
    if (told === congestion.EXPERIENCED && own === congestion.NONE) {
      return this.#refuse('tells of congestion to who does not hear of it');
    }
    const isMore =
      (told === congestion.EXPERIENCED && own !== congestion.EXPERIENCED) ||
      (told === congestion.CAPABLE_1 && own === congestion.CAPABLE_0);
    if (isMore) setTrafficClass(opened, networkAt, version, (inner & ~3) | told);
    return true;
  }

  #openTransport(
    frame: Uint8Array,
    { networkAt, version, transportAt }: PacketHeaders,
    room: Uint8Array,
    payload: number,
    next: number,
  ): boolean {
    const length = transportAt - networkAt + payload;
    if (!this.#lifetime.allows(length)) return this.#refuse('comes when its association has expired');
    const opened = room.subarray(headroom, headroom + transportAt + payload);
    opened.set(frame.subarray(0, transportAt));
    opened[this.#protocolAt(frame, networkAt, version)] = next;
    setPacketLength(opened, networkAt, version, length);
    this.#length = length;
    this.frame = opened;
    return true;
  }

  /** The byte that announces ESP: of the header in front of it. */
  #protocolAt(frame: Uint8Array, networkAt: number, version: 4 | 6): number {
    if (version === 4) return networkAt + 9;
    return lastNextHeader(frame, networkAt, this.#inner);
  }

  #refuse(why: string): false {
    this.refusal = why;
    return false;
  }
}

/** IPv6: where the last extension header says what follows. */
function lastNextHeader(frame: Uint8Array, networkAt: number, headers: PacketHeaders): number {
  headers.read(frame, networkAt);
  let at = networkAt + 6;
  for (let i = 0, header = networkAt + 40; i < headers.extensions; i++) {
    at = header;
    header += (frame[header + 1]! + 1) * 8;
  }
  return at;
}
