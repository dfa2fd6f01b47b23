import { get16 } from './bytes.ts';
import { ethernetHeader, etherType, ipProtocol } from './numbers.ts';

/** Tags of VLANs that are looked through, and extension headers of IPv6. */
const mostTags = 2;
const mostExtensions = 8;

/** Where a frame's network header begins, behind tags of VLANs; −1 when it carries no IP. */
export function networkOffset(frame: Uint8Array): number {
  let at = ethernetHeader;
  for (let tags = 0; at <= frame.length; tags++, at += 4) {
    const type = get16(frame, at - 2);
    if (type === etherType.IPV4 || type === etherType.IPV6) return at;
    if (tags === mostTags || (type !== etherType.VLAN && type !== etherType.SERVICE_VLAN)) return -1;
  }
  return -1;
}

/**
 * What lies where in a packet of IP, found without trusting it. One object serves many frames. Offsets are from the frame's
 * start.
 */
export class PacketHeaders {
  networkAt = 0;
  version: 4 | 6 = 4;
  /** The protocol of the transport header, behind extension headers. */
  protocol = 0;
  transportAt = 0;
  /** The packet is a fragment: there may be no transport header. */
  fragment = false;
  /** A routing header has places to go to, so that the last one is not in the destination address. */
  routed = false;
  /** IPv6: where a fragment header would be put in, and the byte that would announce it. */
  fragmentHeaderAt = 0;
  nextHeaderAt = 0;
  /** IPv6: extension headers there are. */
  extensions = 0;

  /** Reads the headers from a network header on. False when they are cut short or are none. */
  read(frame: Uint8Array, networkAt: number): boolean {
    this.networkAt = networkAt;
    this.routed = false;
    this.fragment = false;
    this.extensions = 0;
    if (networkAt >= frame.length) return false;
    const version = frame[networkAt]! >>> 4;
    if (version === 4) return this.#read4(frame, networkAt);
    return version === 6 && this.#read6(frame, networkAt);
  }

  /** Bytes of an address, and where the source's lies; the destination's follows. */
  get addressLength(): number {
    return this.version === 4 ? 4 : 16;
  }

  get addressesAt(): number {
    return this.networkAt + (this.version === 4 ? 12 : 8);
  }

  /** Where the payload of TCP or UDP begins; −1 when the header is cut short or of another protocol. */
  payloadAt(frame: Uint8Array): number {
    const at = this.transportAt;
    if (this.fragment) return -1;
    if (this.protocol === ipProtocol.UDP) return at + 8 <= frame.length ? at + 8 : -1;
    if (this.protocol !== ipProtocol.TCP || at + 20 > frame.length) return -1;
    const length = (frame[at + 12]! >>> 4) * 4;
    return length >= 20 && at + length <= frame.length ? at + length : -1;
  }

  #read4(frame: Uint8Array, at: number): boolean {
    if (at + 20 > frame.length) return false;
    const length = (frame[at]! & 15) * 4;
    if (length < 20 || at + length > frame.length) return false;
    this.version = 4;
    this.protocol = frame[at + 9]!;
    this.transportAt = at + length;
    this.fragment = (get16(frame, at + 6) & 0x3fff) !== 0;
    return true;
  }

  #read6(frame: Uint8Array, from: number): boolean {
    if (from + 40 > frame.length) return false;
    this.version = 6;
    this.nextHeaderAt = from + 6;
    this.fragmentHeaderAt = from + 40;
    let protocol = frame[from + 6]!;
    let at = from + 40;
    for (;;) {
      const isFragment = protocol === ipProtocol.FRAGMENT;
      const isExtension =
        isFragment ||
        protocol === ipProtocol.HOP_BY_HOP ||
        protocol === ipProtocol.ROUTING ||
        protocol === ipProtocol.DESTINATION_OPTIONS;
      if (!isExtension) break;
      if (this.extensions === mostExtensions || at + 8 > frame.length) return false;
      const length = isFragment ? 8 : (frame[at + 1]! + 1) * 8;
      if (at + length > frame.length) return false;
      if (protocol === ipProtocol.ROUTING && frame[at + 3] !== 0) this.routed = true;
      // RFC 8200, 4.5: what every router reads goes before the fragment header.
      if (protocol === ipProtocol.ROUTING || protocol === ipProtocol.HOP_BY_HOP) {
        this.nextHeaderAt = at;
        this.fragmentHeaderAt = at + length;
      }
      this.extensions++;
      protocol = frame[at]!;
      at += length;
      if (!isFragment) continue;
      this.fragment = true;
      // What follows in a later fragment is data, whatever it looks like.
      if ((get16(frame, at - 6) & 0xfff8) !== 0) break;
    }
    this.protocol = protocol;
    this.transportAt = at;
    return true;
  }
}
