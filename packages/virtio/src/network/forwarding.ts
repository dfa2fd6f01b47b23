import { formatAddress } from './address.ts';
import type { IcmpErrors } from './icmp-errors.ts';
import type { IpPacket } from './ip-packet.ts';
import type { FlowRequest, Settings } from './options.ts';
import type { Plan } from './plan.ts';
import type { Statistics } from './statistics.ts';

/** Where a packet goes. */
export type Route =
  /** To an address of the network's own. */
  | { readonly kind: 'own' }
  /** Through the uplink, to the address that it calls so. */
  | { readonly kind: 'out'; readonly address: string };

const own: Route = Object.freeze({ kind: 'own' });

/** By which the host reaches its own services. */
const loopback = { 4: '127.0.0.1', 6: '::1' } as const;

/** Decides where packets go, and tells their senders when they go nowhere. */
export class Forwarding {
  readonly #settings: Settings;
  readonly #statistics: Statistics;
  readonly #plan: Plan;
  readonly #errors: IcmpErrors;

  constructor(settings: Settings, statistics: Statistics, plan: Plan, errors: IcmpErrors) {
    this.#settings = settings;
    this.#statistics = statistics;
    this.#plan = plan;
    this.#errors = errors;
  }

  /** The way of a packet to one station; `undefined` when it has none, which was counted and said. */
  route(packet: IpPacket, protocol: FlowRequest['protocol'], port: number): Route | undefined {
    const { restrict, hostLoopback, uplink } = this.#settings;
    const { version, destination } = packet;
    switch (this.#plan.kindOf(destination)) {
      case 'dns':
      case 'router':
      case 'service':
        return own;
      case 'host':
        if (protocol === 'icmp' || restrict || !hostLoopback || uplink === undefined) return own;
        return this.#permitted(packet, protocol, port, loopback[version]);
      case 'guest':
        return this.#refuse(packet, 'no-such-host', 'host-unreachable');
      case 'nowhere':
        this.#statistics.drop('prohibited');
        return undefined;
      case 'outside':
        if (packet.hopLimit <= 1) return this.#refuse(packet, 'hop-limit', 'hop-limit');
        if (restrict) return this.#refuse(packet, 'prohibited', 'prohibited');
        if (uplink === undefined) return this.#refuse(packet, 'uplink', 'network-unreachable');
        return this.#permitted(packet, protocol, port, undefined);
    }
  }

  #permitted(
    packet: IpPacket,
    protocol: FlowRequest['protocol'],
    port: number,
    instead: string | undefined,
  ): Route | undefined {
    const address = formatAddress(packet.destination);
    const guest = formatAddress(packet.source);
    if (this.#settings.permit({ protocol, address, port, guest })) {
      return { kind: 'out', address: instead ?? address };
    }
    return this.#refuse(packet, 'prohibited', 'prohibited');
  }

  #refuse(
    packet: IpPacket,
    reason: 'no-such-host' | 'hop-limit' | 'prohibited' | 'uplink',
    error: 'host-unreachable' | 'hop-limit' | 'prohibited' | 'network-unreachable',
  ): undefined {
    this.#statistics.drop(reason);
    this.#errors.report(packet, error);
    return undefined;
  }
}
