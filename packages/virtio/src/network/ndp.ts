import { put16, put32 } from '../link/bytes.ts';
import { ipProtocol } from '../link/numbers.ts';
import type { IpPacket } from './ip-packet.ts';
import type { IpSender } from './ip-send.ts';
import type { Neighbours } from './neighbours.ts';
import type { Ipv6Plan, Settings } from './options.ts';
import type { Plan } from './plan.ts';
import type { Statistics } from './statistics.ts';

/** Messages of ICMPv6 that NDP consists of: RFC 4861. */
export const ndpType = Object.freeze({
  ROUTER_SOLICITATION: 133,
  ROUTER_ADVERTISEMENT: 134,
  NEIGHBOUR_SOLICITATION: 135,
  NEIGHBOUR_ADVERTISEMENT: 136,
  REDIRECT: 137,
} as const);

const option = Object.freeze({
  SOURCE_MAC: 1,
  TARGET_MAC: 2,
  PREFIX: 3,
  MTU: 5,
  RDNSS: 25,
  DNSSL: 31,
} as const);

/** Of an advertisement of a neighbour: from a router, because it was asked, and to be believed before what was known. */
const flag = Object.freeze({ ROUTER: 0x8000_0000, SOLICITED: 0x4000_0000, OVERRIDE: 0x2000_0000 } as const);

/** All stations of the link, and all that have IPv6. */
const allNodes = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

/** Seconds for which a router's word is good, and milliseconds after which it gives it again. */
const routerLifetime = 1800;
const advertiseEach = 300_000;
/** Milliseconds between two advertisements to all: RFC 4861, 6.2.6. */
const leastInterval = 3000;
const validLifetime = 86_400;
const preferredLifetime = 14_400;

/** Who has which address of IPv6, who the router is, and what the network's prefix is. */
export class Ndp {
  readonly #settings: Settings;
  readonly #statistics: Statistics;
  readonly #plan: Pick<Plan, 'isGuest' | 'isOwn'>;
  readonly #ipv6: Ipv6Plan;
  readonly #sender: IpSender;
  readonly #neighbours: Neighbours;
  #stop: () => void = () => {};
  #lastToAll = Number.NEGATIVE_INFINITY;

  constructor(
    settings: Settings,
    ipv6: Ipv6Plan,
    statistics: Statistics,
    plan: Pick<Plan, 'isGuest' | 'isOwn'>,
    sender: IpSender,
    neighbours: Neighbours,
  ) {
    this.#settings = settings;
    this.#ipv6 = ipv6;
    this.#statistics = statistics;
    this.#plan = plan;
    this.#sender = sender;
    this.#neighbours = neighbours;
  }

  /** Takes a message whose checksum is right. */
  receive(packet: IpPacket): void {
    const { bytes, offset, length, hopLimit } = packet;
    // Who is not on this link cannot send with this hop limit: RFC 4861, 6.1 and 7.1.
    if (hopLimit !== 255 || bytes[offset + 1] !== 0) {
      this.#statistics.drop('malformed');
      return;
    }
    switch (bytes[offset]) {
      case ndpType.ROUTER_SOLICITATION:
        this.#routerSolicited(packet);
        return;
      case ndpType.NEIGHBOUR_SOLICITATION:
        this.#neighbourSolicited(packet);
        return;
      case ndpType.NEIGHBOUR_ADVERTISEMENT: {
        if (length < 24) {
          this.#statistics.drop('truncated');
          return;
        }
        const target = bytes.slice(offset + 8, offset + 24);
        const mac = optionOf(packet, 24, option.TARGET_MAC);
        if (mac === 'malformed') {
          this.#statistics.drop('malformed');
          return;
        }
        if (mac !== undefined && this.#plan.isGuest(target)) this.#neighbours.learn(target, mac);
        return;
      }
      default:
        // There is one router here, and it is this.
        this.#statistics.drop('malformed');
        return;
    }
  }

  /** Says who the router is, now and from time to time. */
  start(): void {
    this.stop();
    this.#advertiseToAll();
  }

  stop(): void {
    this.#stop();
    this.#stop = () => {};
  }

  /** Asks the link who has an address. */
  ask(address: Uint8Array): void {
    const { buffer } = this.#sender;
    const at = this.#sender.payloadOffset(6);
    const group = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...address.subarray(13));
    put32(buffer, at, ndpType.NEIGHBOUR_SOLICITATION << 24);
    put32(buffer, at + 4, 0);
    buffer.set(address, at + 8);
    this.#putMac(at + 24, option.SOURCE_MAC);
    this.#send(this.#ipv6.router, group, 32);
  }

  #neighbourSolicited(packet: IpPacket): void {
    const { bytes, offset, length, source } = packet;
    if (length < 24) {
      this.#statistics.drop('truncated');
      return;
    }
    const target = bytes.slice(offset + 8, offset + 24);
    const mac = optionOf(packet, 24, option.SOURCE_MAC);
    // Who has no address yet asks whether one is free, and names no station: RFC 4861, 7.1.1.
    const probe = source.every((byte) => byte === 0);
    if (mac === 'malformed' || (probe && mac !== undefined)) {
      this.#statistics.drop('malformed');
      return;
    }
    if (!this.#plan.isOwn(target)) return;
    if (!probe && mac !== undefined) this.#neighbours.learn(source, mac);
    const { buffer } = this.#sender;
    const at = this.#sender.payloadOffset(6);
    put32(buffer, at, ndpType.NEIGHBOUR_ADVERTISEMENT << 24);
    // Flags are one number of 32 bits, whose highest is a sign to operators.
    put32(buffer, at + 4, (flag.ROUTER | flag.OVERRIDE | (probe ? 0 : flag.SOLICITED)) >>> 0);
    buffer.set(target, at + 8);
    this.#putMac(at + 24, option.TARGET_MAC);
    this.#send(target, probe ? allNodes : source, 32);
  }

  #routerSolicited(packet: IpPacket): void {
    const { source, length } = packet;
    const mac = length < 8 ? 'malformed' : optionOf(packet, 8, option.SOURCE_MAC);
    const nobody = source.every((byte) => byte === 0);
    if (mac === 'malformed' || (nobody && mac !== undefined)) {
      this.#statistics.drop('malformed');
      return;
    }
    if (nobody) {
      // A guest that asks again and again shall not have all stations told each time.
      if (this.#settings.clock.now() - this.#lastToAll >= leastInterval) this.start();
      return;
    }
    if (mac !== undefined) this.#neighbours.learn(source, mac);
    this.#advertise(source);
  }

  #advertiseToAll(): void {
    this.#lastToAll = this.#settings.clock.now();
    this.#advertise(allNodes);
    this.#stop = this.#settings.clock.setTimer(advertiseEach, () => this.#advertiseToAll());
  }

  #advertise(to: Uint8Array): void {
    const { buffer } = this.#sender;
    const { prefix, router, dns } = this.#ipv6;
    const { restrict, mtu, dhcp } = this.#settings;
    const start = this.#sender.payloadOffset(6);
    put32(buffer, start, ndpType.ROUTER_ADVERTISEMENT << 24);
    buffer[start + 4] = 64;
    // More about name servers is to be had by DHCPv6.
    buffer[start + 5] = dhcp === undefined ? 0 : 0x40;
    // One without a lifetime leads nowhere.
    put16(buffer, start + 6, restrict ? 0 : routerLifetime);
    put32(buffer, start + 8, 0);
    put32(buffer, start + 12, 0);
    let at = this.#putMac(start + 16, option.SOURCE_MAC);
    put32(buffer, at, (option.MTU << 24) | (1 << 16));
    put32(buffer, at + 4, mtu);
    at += 8;
    // On this link, and for addresses that guests make of it.
    put32(buffer, at, ((option.PREFIX << 24) | (4 << 16) | (prefix.length << 8) | 0xc0) >>> 0);
    put32(buffer, at + 4, validLifetime);
    put32(buffer, at + 8, preferredLifetime);
    put32(buffer, at + 12, 0);
    buffer.set(prefix.address, at + 16);
    at += 32;
    put32(buffer, at, (option.RDNSS << 24) | (3 << 16));
    put32(buffer, at + 4, routerLifetime);
    buffer.set(dns, at + 8);
    at += 24;
    const domains = encodeDomains(dhcp?.search ?? []);
    if (domains.length > 0) {
      const size = (8 + domains.length + 7) & ~7;
      put32(buffer, at, (option.DNSSL << 24) | ((size >> 3) << 16));
      put32(buffer, at + 4, routerLifetime);
      buffer.fill(0, at + 8, at + size);
      buffer.set(domains, at + 8);
      at += size;
    }
    this.#send(router, to, at - start);
  }

  #putMac(at: number, kind: number): number {
    this.#sender.buffer[at] = kind;
    this.#sender.buffer[at + 1] = 1;
    this.#sender.buffer.set(this.#settings.mac, at + 2);
    return at + 8;
  }

  #send(from: Uint8Array, to: Uint8Array, length: number): void {
    this.#sender.sumPayload(from, to, ipProtocol.ICMPV6, length, 2);
    this.#sender.send(from, to, ipProtocol.ICMPV6, length, { hopLimit: 255 });
  }
}

/** The MAC address in an option; `malformed` when the options are. */
function optionOf(packet: IpPacket, from: number, kind: number): Uint8Array | undefined | 'malformed' {
  const { bytes, offset, length } = packet;
  let found: Uint8Array | undefined;
  for (let at = from; at < length; ) {
    const size = at + 1 < length ? 8 * bytes[offset + at + 1]! : 0;
    if (size === 0 || at + size > length) return 'malformed';
    if (bytes[offset + at] === kind) found ??= bytes.slice(offset + at + 2, offset + at + 8);
    at += size;
  }
  return found !== undefined && (found[0]! & 1) !== 0 ? 'malformed' : found;
}

/** Names as DNS writes them, one behind the other. */
export function encodeDomains(domains: readonly string[]): Uint8Array {
  const bytes: number[] = [];
  for (const domain of domains) {
    for (const label of domain.split('.').filter((part) => part !== '')) {
      bytes.push(label.length, ...Array.from(label, (character) => character.charCodeAt(0)));
    }
    bytes.push(0);
  }
  return Uint8Array.from(bytes);
}

/** True of messages that are NDP's. */
export function isNdp({ bytes, offset }: IpPacket): boolean {
  const type = bytes[offset]!;
  return type >= ndpType.ROUTER_SOLICITATION && type <= ndpType.REDIRECT;
}
