import { get16, put16 } from '../link/bytes.ts';
import { encodeDomains } from './ndp.ts';
import type { Settings } from './options.ts';
import type { Statistics } from './statistics.ts';
import type { UdpDatagram } from './udp.ts';
import type { UdpSender } from './udp-send.ts';

export const dhcpv6Port = Object.freeze({ CLIENT: 546, SERVER: 547 } as const);

/** All servers of the link: ff02::1:2. */
export const allServers = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2);

const type = Object.freeze({ REPLY: 7, INFORMATION_REQUEST: 11 } as const);
const option = Object.freeze({ CLIENT: 1, SERVER: 2, DNS: 23, SEARCH: 24 } as const);

/** The longest identifier of a client: RFC 8415, 11.1. */
const longestIdentifier = 130;

/**
 * Tells guests of IPv6 where their name server is, and nothing else: RFC 8415, 18.3.6. They make their addresses themselves,
 * so that other requests are not answered.
 */
export class Dhcpv6Server {
  readonly #settings: Settings;
  readonly #statistics: Statistics;
  readonly #udp: UdpSender;

  constructor(settings: Settings, statistics: Statistics, udp: UdpSender) {
    this.#settings = settings;
    this.#statistics = statistics;
    this.#udp = udp;
  }

  receive({ packet, sourcePort, payload }: UdpDatagram): void {
    const { ipv6, dhcp, mac } = this.#settings;
    if (payload.length < 4 || ipv6 === undefined) {
      this.#statistics.drop('truncated');
      return;
    }
    if (payload[0] !== type.INFORMATION_REQUEST) return;
    const client = clientOf(payload);
    if (client === 'malformed') {
      this.#statistics.drop('malformed');
      return;
    }
    const answer = this.#udp.payload(6);
    answer.set(payload.subarray(1, 4), 1);
    answer[0] = type.REPLY;
    let at = 4;
    const add = (code: number, value: Uint8Array): void => {
      put16(answer, at, code);
      put16(answer, at + 2, value.length);
      answer.set(value, at + 4);
      at += 4 + value.length;
    };
    if (client !== undefined) add(option.CLIENT, client);
    // By its MAC address: RFC 8415, 11.4.
    add(option.SERVER, Uint8Array.of(0, 3, 0, 1, ...mac));
    add(option.DNS, ipv6.dns);
    const domains = encodeDomains(dhcp?.search ?? []);
    if (domains.length > 0) add(option.SEARCH, domains);
    this.#udp.send(ipv6.router, dhcpv6Port.SERVER, packet.source, sourcePort, at);
  }
}

/** A copy of the client's identifier, if it has one; `malformed` when the options are. */
function clientOf(message: Uint8Array): Uint8Array | undefined | 'malformed' {
  let found: Uint8Array | undefined;
  for (let at = 4; at < message.length; ) {
    if (at + 4 > message.length) return 'malformed';
    const length = get16(message, at + 2);
    if (at + 4 + length > message.length) return 'malformed';
    if (get16(message, at) === option.CLIENT) {
      if (length > longestIdentifier) return 'malformed';
      found = message.slice(at + 4, at + 4 + length);
    }
    at += 4 + length;
  }
  return found;
}
