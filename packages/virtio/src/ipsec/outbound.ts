import { get16, put16, put32 } from '../link/bytes.ts';
import { pseudoHeaderSum, transportChecksum } from '../link/checksum.ts';
import { networkOffset, PacketHeaders } from '../link/headers.ts';
import { dontFragment, setPacketLength, writeIpHeader } from '../link/ip-header.ts';
import { etherType, ipProtocol, ipv4Header, ipv6Header, largestPacket } from '../link/numbers.ts';
import { type EspAssociation, espTrailerLength, padding, udpHeaderLength } from './association.ts';
import { congestion, decrementHops, packetLength, trafficClass } from './ip-fields.ts';
import { Lifetime } from './lifetime.ts';
import { espHeaderLength } from './transform.ts';

/** The last sequence number: of those with 32 bits, and of what a number here counts to. */
const lastShort = 0xffff_ffff;
const lastExtended: number = Number.MAX_SAFE_INTEGER;

/** What an outbound association has come to. */
export interface OutboundState {
  readonly sequence: number;
  readonly packets: number;
  readonly bytes: number;
}

/** Encrypts packets of one association: Ethernet frames with IP in them, one after the other. */
export class EspOutbound {
  /** Why the last packet was not sealed, as in "a frame …". */
  refusal = '';
  readonly #association: EspAssociation;
  readonly #lifetime: Lifetime;
  readonly #headers = new PacketHeaders();
  #sequence = 0;

  constructor(association: EspAssociation) {
    this.#association = association;
    this.#lifetime = new Lifetime(association.lifetime);
  }

  get softExpired(): boolean {
    return this.#lifetime.soft;
  }

  get state(): OutboundState {
    const { packets, bytes } = this.#lifetime;
    return { sequence: this.#sequence, packets, bytes };
  }

  /** Goes on where another one was: with the same key no number may be used twice. */
  restore({ sequence, packets, bytes }: OutboundState): void {
    this.#sequence = sequence;
    this.#lifetime.packets = packets;
    this.#lifetime.bytes = bytes;
  }

  /**
   * Encrypts the packet in a frame, on which nothing is left to do; `into` has room for a larger one. Bytes of what it became; 0
   * when it was not encrypted, and `refusal` says why.
   */
  seal(frame: Uint8Array, into: Uint8Array): number {
    const { mode, extended } = this.#association;
    const headers = this.#headers;
    const networkAt = networkOffset(frame);
    if (networkAt < 0 || !headers.read(frame, networkAt)) return this.#refuse('is not of IP');
    const length = packetLength(frame, headers);
    if (length < 0) return this.#refuse('is shorter than the packet in it');
    if (mode === 'transport' && headers.fragment) return this.#refuse('has a fragment, for transport mode');
    if (!this.#lifetime.allows(length)) return this.#refuse('comes when its association has expired');
    if (this.#sequence >= (extended ? lastExtended : lastShort)) {
      return this.#refuse('comes when its association has no sequence number left');
    }
    return mode === 'tunnel'
      ? this.#sealTunnel(frame, length, into)
      : this.#sealTransport(frame, length, into);
  }

  #sealTunnel(frame: Uint8Array, length: number, into: Uint8Array): number {
    const { tunnel, copyDscp, copyDontFragment, ecn, udp, decrementHops: hops } = this.#association;
    const { networkAt, version } = this.#headers;
    if (tunnel === undefined) return this.#refuse('is for a tunnel without an end');
    const headerLength = tunnel.version === 4 ? ipv4Header : ipv6Header;
    const payloadAt = this.#payloadAt(networkAt + headerLength);
    const end = this.#end(payloadAt, length);
    if (!this.#fits(end, networkAt, tunnel.version, into)) return this.#refuse('is too large when encrypted');
    into.set(frame.subarray(0, networkAt));
    into.set(frame.subarray(networkAt, networkAt + length), payloadAt);
    if (hops && !decrementHops(into, payloadAt, version)) return this.#refuse('has no hop left');
    put16(into, networkAt - 2, tunnel.version === 4 ? etherType.IPV4 : etherType.IPV6);
    const inner = trafficClass(frame, networkAt, version);
    const dscp = copyDscp ? inner & ~3 : tunnel.dscp << 2;
    const isKept = version === 4 && (get16(frame, networkAt + 6) & dontFragment) !== 0;
    const { source, destination, hops: outerHops, flowLabel } = tunnel;
    writeIpHeader(into, networkAt, {
      source,
      destination,
      protocol: udp === undefined ? ipProtocol.ESP : ipProtocol.UDP,
      hops: outerHops,
      payload: end - networkAt - headerLength,
      trafficClass: dscp | (ecn ? inner & 3 : congestion.NONE),
      flowLabel,
      identification: this.#sequence + 1,
      fragment: (copyDontFragment ? isKept : tunnel.dontFragment) ? dontFragment : 0,
    });
    const next = version === 4 ? ipProtocol.IPV4 : ipProtocol.IPV6;
    return this.#finish(into, networkAt, networkAt + headerLength, length, next);
  }

  #sealTransport(frame: Uint8Array, length: number, into: Uint8Array): number {
    const { version, networkAt, transportAt, fragmentHeaderAt, nextHeaderAt } = this.#headers;
    // IPv6: behind what every router looks at.
    const headerEnd = version === 4 ? transportAt : fragmentHeaderAt;
    const protocolAt = version === 4 ? networkAt + 9 : nextHeaderAt;
    const payload = length - (headerEnd - networkAt);
    if (payload < 0) return this.#refuse('is shorter than the packet in it');
    const payloadAt = this.#payloadAt(headerEnd);
    const end = this.#end(payloadAt, payload);
    if (!this.#fits(end, networkAt, version, into)) return this.#refuse('is too large when encrypted');
    into.set(frame.subarray(0, headerEnd));
    into.set(frame.subarray(headerEnd, networkAt + length), payloadAt);
    const next = frame[protocolAt]!;
    into[protocolAt] = this.#association.udp === undefined ? ipProtocol.ESP : ipProtocol.UDP;
    setPacketLength(into, networkAt, version, end - networkAt);
    return this.#finish(into, networkAt, headerEnd, payload, next);
  }

  /** Writes what surrounds the payload, which is in place, and encrypts it. The frame's length. */
  #finish(into: Uint8Array, networkAt: number, headerEnd: number, payload: number, next: number): number {
    const { spi, transform, udp } = this.#association;
    const sequence = ++this.#sequence;
    const espAt = headerEnd + (udp === undefined ? 0 : udpHeaderLength);
    const trailerAt = espAt + espHeaderLength + transform.ivLength + payload;
    const padded = padding(payload, transform);
    const end = trailerAt + padded + espTrailerLength + transform.icvLength;
    put32(into, espAt, spi);
    put32(into, espAt + 4, sequence >>> 0);
    for (let i = 0; i < padded; i++) into[trailerAt + i] = i + 1;
    into[trailerAt + padded] = padded;
    into[trailerAt + padded + 1] = next;
    transform.seal(into.subarray(espAt, end), sequence);
    if (udp !== undefined) this.#writeUdp(into, networkAt, headerEnd, end);
    this.#lifetime.count(this.#association.mode === 'tunnel' ? payload : payload + headerEnd - networkAt);
    return end;
  }

  #writeUdp(into: Uint8Array, networkAt: number, at: number, end: number): void {
    const { source = 0, destination = 0 } = this.#association.udp ?? {};
    const length = end - at;
    put16(into, at, source);
    put16(into, at + 2, destination);
    put16(into, at + 4, length);
    put16(into, at + 6, 0);
    // RFC 3948, 2.1: none over IPv4. Over IPv6 there is always one.
    if (into[networkAt]! >>> 4 === 4) return;
    const sum = pseudoHeaderSum(into, networkAt + 8, 16, ipProtocol.UDP, length);
    put16(into, at + 6, transportChecksum(into, at, end, sum));
  }

  #payloadAt(headerEnd: number): number {
    const { transform, udp } = this.#association;
    return headerEnd + (udp === undefined ? 0 : udpHeaderLength) + espHeaderLength + transform.ivLength;
  }

  #end(payloadAt: number, payload: number): number {
    const { transform } = this.#association;
    return payloadAt + payload + padding(payload, transform) + espTrailerLength + transform.icvLength;
  }

  #fits(end: number, networkAt: number, version: 4 | 6, into: Uint8Array): boolean {
    // IPv6 does not count its own header.
    return end <= into.length && end - networkAt <= largestPacket + (version === 6 ? ipv6Header : 0);
  }

  #refuse(why: string): 0 {
    this.refusal = why;
    return 0;
  }
}
