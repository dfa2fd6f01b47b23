import { parseIpv4, sameBytes } from './address.ts';
import { DhcpAnswer, type DhcpRequest, dhcpOption, dhcpType, readDhcp } from './dhcp-message.ts';
import type { IpPacket } from './ip-packet.ts';
import { Leases } from './leases.ts';
import { encodeDomains } from './ndp.ts';
import type { Neighbours } from './neighbours.ts';
import type { DhcpOptions, Ipv4Plan, Settings } from './options.ts';
import type { Statistics } from './statistics.ts';
import type { UdpSender } from './udp-send.ts';

export const dhcpPort = Object.freeze({ SERVER: 67, CLIENT: 68 } as const);

const nobody = new Uint8Array(4);
const everybody = Uint8Array.of(255, 255, 255, 255);
const aDay = 86_400;

/** Gives guests their addresses of IPv4 and tells them about the network: RFC 2131. */
export class DhcpServer {
  readonly #settings: Settings;
  readonly #options: DhcpOptions;
  readonly #plan: Ipv4Plan;
  readonly #statistics: Statistics;
  readonly #udp: UdpSender;
  readonly #neighbours: Neighbours;
  readonly leases: Leases;

  constructor(
    settings: Settings,
    options: DhcpOptions,
    plan: Ipv4Plan,
    statistics: Statistics,
    udp: UdpSender,
    neighbours: Neighbours,
    isOwn: (address: Uint8Array) => boolean,
  ) {
    this.#settings = settings;
    this.#options = options;
    this.#plan = plan;
    this.#statistics = statistics;
    this.#udp = udp;
    this.#neighbours = neighbours;
    this.leases = new Leases(plan, isOwn);
  }

  /** Takes a datagram for the server's port, to all or to our address. */
  receive(packet: IpPacket, payload: Uint8Array): void {
    const request = readDhcp(payload);
    if (request === undefined) {
      this.#statistics.drop('malformed');
      return;
    }
    // Who means another server shall not hear of us.
    if (request.server !== undefined && !sameBytes(request.server, this.#plan.host)) {
      if (request.type === dhcpType.REQUEST) return;
    }
    const now = this.#settings.clock.now();
    switch (request.type) {
      case 0:
      case dhcpType.DISCOVER:
        this.#discovered(request, now);
        return;
      case dhcpType.REQUEST:
        this.#requested(request, now);
        return;
      case dhcpType.DECLINE:
        if (request.requested !== undefined) this.leases.decline(request.identity, request.requested, now);
        return;
      case dhcpType.RELEASE:
        this.leases.release(request.identity, request.client);
        return;
      case dhcpType.INFORM:
        // Where it cannot be reached it need not ask.
        if (!sameBytes(packet.source, request.client)) {
          this.#statistics.drop('malformed');
          return;
        }
        this.#answer(dhcpType.ACK, request, undefined);
        return;
      default:
        this.#statistics.drop('malformed');
        return;
    }
  }

  #discovered(request: DhcpRequest, now: number): void {
    const address = this.leases.offer(request.identity, request.requested, now);
    if (address === undefined) {
      this.#statistics.drop('limit');
      return;
    }
    // Of BOOTP and with rapid commit one exchange is all: RFC 4039.
    const atOnce = request.type === 0 || request.rapidCommit;
    if (atOnce) this.leases.grant(request.identity, address, now, now + this.#leaseTime * 1000);
    this.#answer(request.type === 0 ? 0 : atOnce ? dhcpType.ACK : dhcpType.OFFER, request, address);
  }

  #requested(request: DhcpRequest, now: number): void {
    const renews = request.requested === undefined;
    const address = request.requested ?? request.client;
    if (renews && sameBytes(address, nobody)) {
      this.#statistics.drop('malformed');
      return;
    }
    if (this.leases.grant(request.identity, address, now, now + this.#leaseTime * 1000)) {
      this.#answer(dhcpType.ACK, request, address);
    } else this.#answer(dhcpType.NAK, request, undefined);
  }

  get #leaseTime(): number {
    return this.#options.leaseTime ?? aDay;
  }

  /** @param yours the address that is given, if any */
  #answer(type: number, request: DhcpRequest, yours: Uint8Array | undefined): void {
    const { host } = this.#plan;
    const answer = new DhcpAnswer(this.#udp.payload(4), request);
    if (type !== 0) answer.option(dhcpOption.TYPE, Uint8Array.of(type));
    answer.option(dhcpOption.SERVER, host);
    if (type === dhcpType.NAK) {
      this.#send(answer, everybody, undefined);
      return;
    }
    const { bootFile = '', bootServer } = this.#options;
    answer.addresses(request.client, yours, bootServer === undefined ? host : parseIpv4(bootServer));
    if (yours !== undefined && type !== 0) {
      answer.number(dhcpOption.LEASE_TIME, this.#leaseTime, 4);
      answer.number(dhcpOption.RENEW, Math.floor(this.#leaseTime / 2), 4);
      answer.number(dhcpOption.REBIND, Math.floor(this.#leaseTime * 0.875), 4);
    }
    if (type === dhcpType.ACK && request.rapidCommit)
      answer.option(dhcpOption.RAPID_COMMIT, new Uint8Array());
    this.#aboutTheNetwork(answer);
    if (bootFile !== '') answer.bootFile(bootFile);
    if (yours !== undefined && type !== dhcpType.OFFER) this.#neighbours.learn(yours, request.mac);
    // To the address that it has; else to all if it cannot hear anything else yet.
    if (!sameBytes(request.client, nobody)) this.#send(answer, request.client, request.mac);
    else if (request.broadcast || yours === undefined) this.#send(answer, everybody, undefined);
    else this.#send(answer, yours, request.mac);
  }

  #aboutTheNetwork(answer: DhcpAnswer): void {
    const { network, host, dns, broadcast } = this.#plan;
    const { hostname, domain, search = [], bootFile } = this.#options;
    answer.option(dhcpOption.MASK, network.mask);
    answer.option(dhcpOption.BROADCAST, broadcast);
    // What leads nowhere is not named, so that a guest with another network uses that.
    if (!this.#settings.restrict) {
      answer.option(dhcpOption.ROUTER, host);
      answer.option(dhcpOption.DNS, dns);
    }
    answer.number(dhcpOption.MTU, this.#settings.mtu, 2);
    answer.text(dhcpOption.HOSTNAME, hostname);
    answer.text(dhcpOption.DOMAIN, domain);
    if (search.length > 0) answer.option(dhcpOption.SEARCH, encodeDomains(search));
    answer.text(dhcpOption.BOOT_SERVER, this.#options.bootServer);
    answer.text(dhcpOption.BOOT_FILE, bootFile);
  }

  #send(answer: DhcpAnswer, to: Uint8Array, mac: Uint8Array | undefined): void {
    const length = answer.end();
    const { host } = this.#plan;
    this.#udp.send(host, dhcpPort.SERVER, to, dhcpPort.CLIENT, length, mac === undefined ? {} : { mac });
  }
}
