import { UsageError } from '../errors.ts';
import { macAddress } from '../link/mac.ts';
import { ipv4From, ipv6From, Prefix, parseIpv4, parseIpv6, sameBytes } from './address.ts';
import { systemClock, systemRandom } from './clock.ts';
import type { Clock, TcpLimits } from './tcp/index.ts';
import type { Uplink } from './uplink.ts';

/** The addresses of a network of IPv4. What is absent is as QEMU's user network has it. */
export interface Ipv4Options {
  /** `10.0.2.0/24` unless told. */
  readonly network?: string | undefined;
  /** By which guests reach the host and everything behind it; the network's second address (10.0.2.2) unless told. */
  readonly host?: string | undefined;
  /** The name server; the third (10.0.2.3) unless told. */
  readonly dns?: string | undefined;
  /** The first address that DHCP leases; the fifteenth (10.0.2.15) unless told. */
  readonly guest?: string | undefined;
}

/** The addresses of a network of IPv6. What is absent is as QEMU's user network has it. */
export interface Ipv6Options {
  /** The prefix of which guests make addresses of their own, 64 bits long; `fec0::/64` unless told. */
  readonly prefix?: string | undefined;
  /** By which guests reach the host's own services; `::2` of the prefix unless told. */
  readonly host?: string | undefined;
  /** The name server; `::3` of the prefix unless told. */
  readonly dns?: string | undefined;
}

/** What DHCP tells guests beside addresses. */
export interface DhcpOptions {
  /** The guest's own name. */
  readonly hostname?: string | undefined;
  readonly domain?: string | undefined;
  /** Domains in which short names are looked for; told to guests of IPv6 by router advertisements. */
  readonly search?: readonly string[] | undefined;
  /** Seconds; a day unless told. */
  readonly leaseTime?: number | undefined;
  /** What firmware is to start. */
  readonly bootFile?: string | undefined;
  /** From which it is to be had: an address of IPv4. */
  readonly bootServer?: string | undefined;
}

/** What a guest, or a peer of it, asks the network to carry. */
export interface FlowRequest {
  readonly protocol: 'tcp' | 'udp' | 'icmp';
  /** Where to. For the host's own services this is the network's own address of the host. */
  readonly address: string;
  /** 0 for ICMP. */
  readonly port: number;
  /** The guest's address. */
  readonly guest: string;
}

/** How much there may be of everything. */
export interface NetworkLimits {
  /** Connections of TCP at a time; 4096 unless told. */
  readonly connections?: number | undefined;
  /** Sockets for datagrams at a time, one for each port of a guest's; 1024 unless told. The longest unused makes room. */
  readonly udpFlows?: number | undefined;
  /** Milliseconds after which a socket for datagrams is closed that nobody used; 120,000 unless told. */
  readonly udpIdle?: number | undefined;
  /** DNS queries under way at a time; 256 unless told. */
  readonly queries?: number | undefined;
  /** Of TCP, as it names them. */
  readonly tcp?: Partial<Omit<TcpLimits, 'connections'>> | undefined;
}

/** What a network in user mode is made of. Everything may be absent. */
export interface NetworkOptions {
  /** The world behind the network; without it guests reach the network alone. */
  readonly uplink?: Uplink | undefined;
  /** The MAC address of everything in the network that is no guest; 52:55:0a:00:02:02 unless told. */
  readonly mac?: string | undefined;
  /** The largest packet of IP, in bytes, which guests hear of; 1500 unless told. From 1280 to 65,535. */
  readonly mtu?: number | undefined;
  /** `false` for a network without it. */
  readonly ipv4?: Ipv4Options | false | undefined;
  /** `false` for a network without it. */
  readonly ipv6?: Ipv6Options | false | undefined;
  readonly dhcp?: DhcpOptions | false | undefined;
  /** Names and their addresses, ahead of all that the uplink knows. */
  readonly names?: Readonly<Record<string, string | readonly string[]>> | undefined;
  /** Keeps guests from everything outside; services and forwards of the network's own go on. Off unless told. */
  readonly restrict?: boolean | undefined;
  /** Lets guests reach the host's own services by the network's address of the host; on unless told. */
  readonly hostLoopback?: boolean | undefined;
  /** Asked about everything that would go out; false keeps it in. */
  readonly permit?: ((flow: FlowRequest) => boolean) | undefined;
  readonly limits?: NetworkLimits | undefined;
  /** The engine's own unless told. */
  readonly clock?: Clock | undefined;
  /** Fills bytes with what nobody can guess; the engine's own unless told. */
  readonly random?: ((bytes: Uint8Array) => void) | undefined;
}

/** Addresses of IPv4, checked. */
export interface Ipv4Plan {
  readonly network: Prefix;
  readonly host: Uint8Array;
  readonly dns: Uint8Array;
  readonly guest: Uint8Array;
  readonly broadcast: Uint8Array;
}

/** Addresses of IPv6, checked. */
export interface Ipv6Plan {
  readonly prefix: Prefix;
  /** Of the router on the link. */
  readonly router: Uint8Array;
  readonly host: Uint8Array;
  readonly dns: Uint8Array;
}

/** What the parts of a network go by: all options, checked, with nothing absent. */
export interface Settings {
  readonly uplink: Uplink | undefined;
  readonly mac: Uint8Array;
  readonly mtu: number;
  readonly ipv4: Ipv4Plan | undefined;
  readonly ipv6: Ipv6Plan | undefined;
  readonly dhcp: DhcpOptions | undefined;
  readonly names: ReadonlyMap<string, readonly Uint8Array[]>;
  readonly restrict: boolean;
  readonly hostLoopback: boolean;
  readonly permit: (flow: FlowRequest) => boolean;
  readonly limits: {
    readonly connections: number;
    readonly udpFlows: number;
    readonly udpIdle: number;
    readonly queries: number;
    readonly tcp: NetworkLimits['tcp'];
  };
  readonly clock: Clock;
  readonly random: (bytes: Uint8Array) => void;
}

/** @throws {UsageError} BAD_ARGUMENT */
export function settingsOf(options: NetworkOptions): Settings {
  const { mtu = 1500, limits = {}, ipv4 = {}, ipv6 = {}, dhcp = {} } = options;
  if (!Number.isInteger(mtu) || mtu < 1280 || mtu > 65_535) {
    throw new UsageError('BAD_ARGUMENT', `an MTU of ${mtu}: give 1280 to 65535 bytes`);
  }
  return {
    uplink: options.uplink,
    mac: macAddress(options.mac ?? '52:55:0a:00:02:02'),
    mtu,
    ipv4: ipv4 === false ? undefined : ipv4Plan(ipv4),
    ipv6: ipv6 === false ? undefined : ipv6Plan(ipv6),
    dhcp: dhcp === false ? undefined : checkedDhcp(dhcp),
    names: namesOf(options.names ?? {}),
    restrict: options.restrict ?? false,
    hostLoopback: options.hostLoopback ?? true,
    permit: options.permit ?? (() => true),
    limits: {
      connections: count(limits.connections, 4096, 'connections'),
      udpFlows: count(limits.udpFlows, 1024, 'udpFlows'),
      udpIdle: count(limits.udpIdle, 120_000, 'udpIdle'),
      queries: count(limits.queries, 256, 'queries'),
      tcp: limits.tcp,
    },
    clock: options.clock ?? systemClock(),
    random: options.random ?? systemRandom,
  };
}

function count(given: number | undefined, otherwise: number, name: string): number {
  const value = given ?? otherwise;
  if (Number.isInteger(value) && value > 0) return value;
  throw new UsageError('BAD_ARGUMENT', `the limit ${name} is ${value}: give a whole number above 0`);
}

function ipv4Plan(options: Ipv4Options): Ipv4Plan {
  const network = Prefix.parse(options.network ?? '10.0.2.0/24', 4);
  if (network.length < 8 || network.length > 28) {
    throw new UsageError('BAD_ARGUMENT', `a network of /${network.length}: give one of /8 to /28`);
  }
  const pick = (given: string | undefined, number: number): Uint8Array => {
    const address = given === undefined ? network.address.slice() : parseIpv4(given);
    if (given === undefined) address[3]! += Math.min(number, (1 << (32 - network.length)) - 2);
    return inside(network, address, given ?? '');
  };
  const plan = {
    network,
    host: pick(options.host, 2),
    dns: pick(options.dns, 3),
    guest: pick(options.guest, network.length > 27 ? 4 : 15),
    broadcast: network.last,
  };
  return distinct(plan, [plan.host, plan.dns, plan.guest, plan.broadcast, network.address]);
}

function ipv6Plan(options: Ipv6Options): Ipv6Plan {
  const prefix = Prefix.parse(options.prefix ?? 'fec0::/64', 6);
  if (prefix.length !== 64) {
    throw new UsageError('BAD_ARGUMENT', `a prefix of ${prefix.length} bits: guests need one of 64`);
  }
  const pick = (given: string | undefined, number: number): Uint8Array => {
    if (given !== undefined) return inside(prefix, parseIpv6(given), given);
    const address = prefix.address.slice();
    address[15] = number;
    return address;
  };
  const plan = {
    prefix,
    router: parseIpv6('fe80::2'),
    host: pick(options.host, 2),
    dns: pick(options.dns, 3),
  };
  return distinct(plan, [plan.host, plan.dns, prefix.address]);
}

function inside(prefix: Prefix, address: Uint8Array, text: string): Uint8Array {
  if (!prefix.has(address)) throw new UsageError('BAD_ARGUMENT', `${text} is outside the network`);
  return address;
}

function distinct<Plan>(plan: Plan, addresses: readonly Uint8Array[]): Plan {
  if (addresses.some((one, at) => addresses.slice(at + 1).some((other) => sameBytes(one, other)))) {
    throw new UsageError('BAD_ARGUMENT', 'host, dns, guest and the network itself need different addresses');
  }
  return plan;
}

/** The longest text that an option of DHCP carries. */
const longestText = 255;

function checkedDhcp(dhcp: DhcpOptions): DhcpOptions {
  const { hostname = '', domain = '', bootFile = '', search = [], leaseTime = 1 } = dhcp;
  const name = /^[a-z0-9_-]{0,63}(?:\.[a-z0-9_-]{1,63})*$/i;
  for (const text of [hostname, domain, ...search]) {
    if (text.length > 253 || !name.test(text))
      throw new UsageError('BAD_ARGUMENT', `"${text}" is no name of a host`);
  }
  if (search.join().length > longestText)
    throw new UsageError('BAD_ARGUMENT', 'the search domains are too long together');
  if (bootFile.length > 127 || !/^[\x20-\x7e]*$/.test(bootFile)) {
    throw new UsageError('BAD_ARGUMENT', 'a boot file has at most 127 characters of ASCII');
  }
  if (dhcp.bootServer !== undefined) parseIpv4(dhcp.bootServer);
  if (!Number.isInteger(leaseTime) || leaseTime < 1 || leaseTime > 0xffff_ffff) {
    throw new UsageError(
      'BAD_ARGUMENT',
      `a lease of ${leaseTime} seconds: give a whole number from 1 to 4294967295`,
    );
  }
  return dhcp;
}

function namesOf(names: NonNullable<NetworkOptions['names']>): Map<string, readonly Uint8Array[]> {
  const known = new Map<string, readonly Uint8Array[]>();
  for (const [name, addresses] of Object.entries(names)) {
    const bytes = [addresses].flat().map((text) => ipv4From(text) ?? ipv6From(text) ?? parseIpv4(text));
    known.set(name.toLowerCase().replace(/\.$/, ''), bytes);
  }
  return known;
}
