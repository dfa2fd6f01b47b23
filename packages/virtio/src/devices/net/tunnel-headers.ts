import { get16 } from '../../link/bytes.ts';
import { networkOffset, type PacketHeaders } from '../../link/headers.ts';
import { etherType, ipProtocol } from '../../link/numbers.ts';
import { hashTunnelType } from './spec-hash.ts';

const { GRE_2784, GRE_2890, GRE_7676, GRE_UDP, VXLAN, VXLAN_GPE, GENEVE, IPIP, NVGRE } = hashTunnelType;

/** UDP's ports of protocols that carry others. */
const port = Object.freeze({ GRE_UDP: 4754, VXLAN: 4789, VXLAN_GPE: 4790, GENEVE: 6081 });

/** Bits in the first byte of GRE's header, each of which adds four bytes to it. */
const gre = Object.freeze({ CHECKSUM: 0x80, KEY: 0x20, SEQUENCE: 0x10 });

const none = -1;

/**
 * Where the inner network header of an encapsulated packet begins, and whether there is one: an encapsulation may carry something
 * else than IP.
 */
export class TunnelHeaders {
  /** From the frame's start; −1 when what is inside is not of IP. */
  innerAt = none;

  /** True when the packet is in one of the enabled encapsulations, bits of `hashTunnelType`; the headers are the outer ones. */
  read(frame: Uint8Array, outer: PacketHeaders, enabled: number): boolean {
    this.innerAt = none;
    if (outer.fragment) return false;
    const at = outer.transportAt;
    switch (outer.protocol) {
      case ipProtocol.IPV4:
        // RFC 2003 is of IPv4 in IPv4.
        if ((enabled & IPIP) === 0 || outer.version !== 4) return false;
        this.innerAt = at;
        return true;
      case ipProtocol.GRE:
        return this.#gre(frame, at, enabled & greTypes(frame, at, outer.version));
      case ipProtocol.UDP:
        return at + 8 <= frame.length && this.#udp(frame, at, enabled);
      default:
        return false;
    }
  }

  #udp(frame: Uint8Array, at: number, enabled: number): boolean {
    const inside = at + 8;
    switch (get16(frame, at + 2)) {
      case port.GRE_UDP:
        return this.#gre(frame, inside, enabled & GRE_UDP);
      case port.VXLAN:
        if ((enabled & VXLAN) === 0 || !isVxlan(frame, inside)) return false;
        this.#carry(frame, inside + 8, etherType.BRIDGED);
        return true;
      case port.VXLAN_GPE:
        if ((enabled & VXLAN_GPE) === 0 || !isVxlan(frame, inside)) return false;
        this.#carry(frame, inside + 8, gpeCarries(frame[inside + 3]!));
        return true;
      case port.GENEVE: {
        if ((enabled & GENEVE) === 0 || inside + 8 > frame.length || frame[inside]! >>> 6 !== 0) return false;
        const options = (frame[inside]! & 0x3f) * 4;
        this.#carry(frame, inside + 8 + options, get16(frame, inside + 2));
        return true;
      }
      default:
        return false;
    }
  }

  /** `enabled` has bits when one of the types that this packet is of is enabled. */
  #gre(frame: Uint8Array, at: number, enabled: number): boolean {
    // Only version 0 carries packets as these RFCs have it.
    if (enabled === 0 || at + 4 > frame.length || (frame[at + 1]! & 7) !== 0) return false;
    const flags = frame[at]!;
    let length = 4;
    for (const bit of [gre.CHECKSUM, gre.KEY, gre.SEQUENCE]) if ((flags & bit) !== 0) length += 4;
    this.#carry(frame, at + length, get16(frame, at + 2));
    return true;
  }

  #carry(frame: Uint8Array, at: number, type: number): void {
    if (type === etherType.IPV4 || type === etherType.IPV6) {
      this.innerAt = at;
    } else if (type === etherType.BRIDGED && at + 14 <= frame.length) {
      const network = networkOffset(frame.subarray(at));
      this.innerAt = network < 0 ? none : at + network;
    }
  }
}

/** The types that a GRE packet is of: one with a key may be NVGRE as well. */
function greTypes(frame: Uint8Array, at: number, version: 4 | 6): number {
  if (at + 4 > frame.length) return 0;
  const flags = frame[at]! & (gre.CHECKSUM | gre.KEY | gre.SEQUENCE);
  const nvgre = flags === gre.KEY && get16(frame, at + 2) === etherType.BRIDGED ? NVGRE : 0;
  if (version === 6) return GRE_7676 | nvgre;
  return ((flags & (gre.KEY | gre.SEQUENCE)) === 0 ? GRE_2784 : GRE_2890) | nvgre;
}

/** True for a header that says that it names a network. */
function isVxlan(frame: Uint8Array, at: number): boolean {
  return at + 8 <= frame.length && (frame[at]! & 0x08) !== 0;
}

/** What the next protocol of VXLAN-GPE is. */
function gpeCarries(next: number): number {
  return [0, etherType.IPV4, etherType.IPV6, etherType.BRIDGED][next] ?? 0;
}
