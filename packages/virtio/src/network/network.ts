import { UsageError } from '../errors.ts';
import { get16 } from '../link/bytes.ts';
import type { Endpoint, Link, Offload, TakenOffloads } from '../link/index.ts';
import { ethernetHeader, etherType, ipProtocol } from '../link/numbers.ts';
import { addressFrom, sameBytes } from './address.ts';
import { Arp } from './arp.ts';
import { DhcpServer, dhcpPort } from './dhcp.ts';
import { allServers, Dhcpv6Server, dhcpv6Port } from './dhcpv6.ts';
import { DnsForwarder, dnsPort } from './dns.ts';
import { Forwarding } from './forwarding.ts';
import { type Forward, type ForwardOptions, Forwards } from './forwards.ts';
import { Icmp, rightChecksum } from './icmp.ts';
import { IcmpErrors } from './icmp-errors.ts';
import type { IpPacket } from './ip-packet.ts';
import { IpReceiver } from './ip-receive.ts';
import { IpSender } from './ip-send.ts';
import { isNdp, Ndp } from './ndp.ts';
import { Neighbours } from './neighbours.ts';
import { type NetworkOptions, type Settings, settingsOf } from './options.ts';
import { Output } from './output.ts';
import { Plan } from './plan.ts';
import { Services, type StreamService } from './services.ts';
import { Statistics } from './statistics.ts';
import { type TcpAddress, TcpStack, type TcpStream } from './tcp/index.ts';
import { TcpFlows } from './tcp-flows.ts';
import { tcpSender } from './tcp-send.ts';
import { Udp, type UdpDatagram, type UdpService } from './udp.ts';
import { UdpFlows } from './udp-flows.ts';
import { UdpSender } from './udp-send.ts';

/** Nothing of a frame has to be finished for us: we look at what it holds. */
const takes: TakenOffloads = Object.freeze({
  checksum: true,
  tcp4: true,
  tcp6: true,
  ecn: true,
  udpFragments: true,
  udp4: true,
  udp6: true,
  tunnel: false,
  tunnelChecksum: false,
});

/** Frames that wait for the end of what is being done; more, and their sender waits. */
const mostInbox = 256;

/**
 * A network in user mode: one end of an Ethernet link, at which there is a router, a name server, a server of DHCP, and
 * behind them whatever an uplink reaches. Guests at the other end find a network like QEMU's: they are 10.0.2.15, the host
 * is 10.0.2.2, names are known at 10.0.2.3.
 *
 * @throws {UsageError} BAD_ARGUMENT
 */
export function userNetwork(options: NetworkOptions = {}): UserNetwork {
  return new UserNetwork(settingsOf(options));
}

/** Where in the network somebody takes connections, or whom to connect to. */
export interface Place {
  /** An address; the network's own of the host to listen at, the first that DHCP leases to connect to, unless told. */
  readonly address?: string | undefined;
  readonly port: number;
}

/** What {@link userNetwork} makes. Joined to a link like any other end of one. */
export class UserNetwork implements Endpoint {
  readonly takes = takes;
  readonly statistics = new Statistics();
  readonly #settings: Settings;
  readonly #plan: Plan;
  readonly #output: Output;
  readonly #arp: Arp;
  readonly #ndp: Ndp | undefined;
  readonly #neighbours: Neighbours;
  readonly #errors: IcmpErrors;
  readonly #ip: IpReceiver;
  readonly #icmp: Icmp;
  readonly #udp: Udp;
  readonly #udpFlows: UdpFlows;
  readonly #tcp: TcpStack;
  readonly #tcpFlows: TcpFlows;
  readonly #services = new Services();
  readonly #forwards: Forwards;
  readonly #inbox: { readonly frame: Uint8Array; readonly offload: Offload }[] = [];
  /** Their sender was told to wait. */
  #inboxFull = false;
  #closed = false;

  /** @internal */
  constructor(settings: Settings) {
    const { statistics } = this;
    const { clock, random, limits, mtu, ipv4, ipv6, dhcp } = settings;
    this.#settings = settings;
    const plan = new Plan(settings);
    const output = new Output(statistics);
    this.#plan = plan;
    this.#output = output;
    this.#neighbours = new Neighbours(
      clock,
      statistics,
      (address) => (address.length === 4 ? this.#arp.ask(address) : this.#ndp?.ask(address)),
      (frame) => output.send(frame),
    );
    const sender = new IpSender(output, this.#neighbours, settings);
    const errors = new IcmpErrors(settings, sender);
    const forwarding = new Forwarding(settings, statistics, plan, errors);
    const udp = new UdpSender(sender);
    const dns = new DnsForwarder(settings, statistics, udp);
    this.#errors = errors;
    this.#arp = new Arp(settings, statistics, plan, output, this.#neighbours);
    this.#ndp = ipv6 && new Ndp(settings, ipv6, statistics, plan, sender, this.#neighbours);
    const send = tcpSender(sender);
    // A connection is half open for as long as the uplink needs to reach the other side.
    const tcpLimits = { halfOpen: limits.connections, ...limits.tcp, connections: limits.connections };
    const more = (follow: boolean): void => output.more(follow);
    this.#tcp = new TcpStack({ clock, random, mtu, send, more, limits: tcpLimits });
    output.onRoom = () => this.#tcp.room();
    this.#tcpFlows = new TcpFlows(settings, forwarding, errors, this.#services, (address) =>
      dns.pool.nameOf(address),
    );
    this.#tcpFlows.serve(this.#tcp);
    for (const own of [ipv4, ipv6])
      if (own) this.#services.add(own.dns, dnsPort, (stream) => dns.serve(stream));
    this.#icmp = new Icmp(settings, statistics, sender, forwarding, this.#tcp);
    this.#forwards = new Forwards(settings, statistics, plan, this.#tcp, udp);
    this.#udpFlows = new UdpFlows(settings, statistics, plan, forwarding, errors, udp);
    const services: UdpService[] = [
      (datagram) => this.#forwards.receive(datagram),
      (datagram) => this.#resolves(datagram, dns),
      (datagram) => this.#udpFlows.receive(datagram),
    ];
    if (ipv4 && dhcp) {
      const server = new DhcpServer(settings, dhcp, ipv4, statistics, udp, this.#neighbours, (address) =>
        plan.isOwn(address),
      );
      services.unshift(({ packet, port, payload }) => {
        if (packet.version !== 4 || port !== dhcpPort.SERVER) return false;
        if (!packet.toMany && !sameBytes(packet.destination, ipv4.host)) return false;
        server.receive(packet, payload);
        return true;
      });
    }
    if (ipv6 && dhcp) {
      const server = new Dhcpv6Server(settings, statistics, udp);
      services.unshift((datagram) => {
        const { packet, port } = datagram;
        if (port !== dhcpv6Port.SERVER || !sameBytes(packet.destination, allServers)) return false;
        server.receive(datagram);
        return true;
      });
    }
    this.#udp = new Udp(statistics, errors, services);
    this.#ip = new IpReceiver(
      settings,
      statistics,
      plan,
      errors,
      (address, frame) => this.#neighbours.learn(address, frame.subarray(6, 12)),
      (packet) => this.#deliver(packet),
    );
  }

  /** Connections of guests that there are, in whatever state. */
  get connections(): number {
    return this.#tcp.connections;
  }

  /** Sockets for datagrams that are open for guests. */
  get udpFlows(): number {
    return this.#udpFlows.size;
  }

  /**
   * Makes a way from outside to a guest.
   *
   * @throws {HostError} IN_USE when the port is taken; IO_ERROR.
   * @throws {UsageError} BAD_ARGUMENT; BAD_STATE when the uplink takes nothing from outside.
   */
  forward(options: ForwardOptions): Promise<Forward> {
    return this.#forwards.add(options);
  }

  /**
   * Takes guests' connections to one address and port, ahead of the uplink: a service in this program. One that throws
   * resets its connection and nothing else.
   *
   * @throws {UsageError} BAD_ARGUMENT for what is no address; BAD_STATE when somebody listens there.
   */
  listen(place: Place, service: StreamService): { close(): void } {
    const { address, port } = this.#addressed(place, this.#settings.ipv4?.host ?? this.#settings.ipv6?.host);
    if (!this.#services.add(address, port, service)) {
      throw new UsageError('BAD_STATE', `somebody listens at port ${port} of that address already`);
    }
    this.#plan.claim(address);
    return {
      close: () => {
        if (!this.#services.remove(address, port)) return;
        this.#plan.release(address);
      },
    };
  }

  /**
   * Connects to a service of a guest's.
   *
   * @throws {HostError} CONNECTION_REFUSED when nobody listens there; CONNECTION_RESET when nobody answers.
   * @throws {UsageError} BAD_ARGUMENT for what is no address; QUEUE_FULL when there are too many connections.
   */
  async connect(place: Place): Promise<TcpStream> {
    const remote = this.#addressed(place, this.#settings.ipv4?.guest);
    const plan = remote.address.length === 4 ? this.#settings.ipv4 : this.#settings.ipv6;
    if (plan === undefined || !this.#plan.isGuest(remote.address)) {
      throw new UsageError('BAD_ARGUMENT', `${place.address ?? 'nobody'} is no address of a guest: name one`);
    }
    return await this.#tcp.connect({ address: plan.host, port: 0 }, remote);
  }

  attached(link: Link): void {
    this.#output.attach(link);
    if (link.up) this.#ndp?.start();
  }

  carrier(up: boolean): void {
    this.#output.clear();
    if (up && !this.#closed) this.#ndp?.start();
    else this.#ndp?.stop();
  }

  room(): void {
    this.#output.room();
  }

  more(follow: boolean): void {
    this.#tcp.more(follow);
  }

  receive(frame: Uint8Array, offload: Offload): boolean {
    if (this.#closed) return true;
    // A link that answers a frame while it is given one shall not find us in the midst of that.
    if (!this.#output.sending) this.#receive(frame, offload);
    else {
      if (this.#inbox.length >= mostInbox) {
        this.#inboxFull = true;
        return false;
      }
      this.#inbox.push({ frame: frame.slice(), offload: { ...offload } });
      if (this.#inbox.length === 1) void Promise.resolve().then(() => this.#emptyInbox());
    }
    return true;
  }

  /**
   * Lets go of everything: connections are reset, sockets closed, frames lost from now on. The uplink is its owner's to
   * close, as it may serve other networks.
   */
  close(): void {
    if (this.#closed) return;
    this.#forwards.close();
    this.#tcpFlows.close();
    this.#udpFlows.close();
    this.#tcp.close();
    this.#closed = true;
    this.#inbox.length = 0;
    this.#ndp?.stop();
    this.#ip.reassembly.clear();
    this.#neighbours.clear();
  }

  #emptyInbox(): void {
    for (const { frame, offload } of this.#inbox) this.#receive(frame, offload);
    this.#inbox.length = 0;
    if (!this.#inboxFull) return;
    this.#inboxFull = false;
    this.#output.link?.room();
  }

  #receive(frame: Uint8Array, offload: Offload): void {
    this.statistics.receivedFrames++;
    this.statistics.receivedBytes += frame.length;
    if (frame.length < ethernetHeader) {
      this.statistics.drop('truncated');
      return;
    }
    if ((frame[0]! & 1) === 0 && !sameBytes(frame.subarray(0, 6), this.#settings.mac)) {
      this.statistics.drop('other-station');
      return;
    }
    if ((frame[6]! & 1) !== 0) {
      this.statistics.drop('malformed');
      return;
    }
    const { ipv4, ipv6 } = this.#settings;
    const type = get16(frame, 12);
    if (type === etherType.IPV4 && ipv4 !== undefined) this.#ip.receive4(frame, ethernetHeader, offload);
    else if (type === etherType.IPV6 && ipv6 !== undefined) this.#ip.receive6(frame, ethernetHeader, offload);
    else if (type === etherType.ARP && ipv4 !== undefined) this.#arp.receive(frame, ethernetHeader);
    else this.statistics.drop('unknown-protocol');
  }

  #deliver(packet: IpPacket): void {
    const { version, protocol: number } = packet;
    // Who has no address yet may ask for one, and do nothing else.
    const nameless = packet.source.every((byte) => byte === 0);
    if (number === ipProtocol.TCP && !nameless && !packet.toMany) this.#receiveTcp(packet);
    else if (number === ipProtocol.UDP && (!nameless || version === 4)) this.#udp.receive(packet);
    else if (number === ipProtocol.ICMPV6 && version === 6) this.#icmp6(packet);
    else if (nameless) this.statistics.drop('bad-source');
    else if (number === ipProtocol.ICMP && version === 4) this.#icmp.receive(packet);
    else {
      this.statistics.drop('unknown-protocol');
      // Groups come and go without us.
      if (number === ipProtocol.IGMP || number === ipProtocol.TCP) return;
      this.#errors.report(packet, 'protocol-unreachable', version === 6 ? 6 : 0);
    }
  }

  #receiveTcp(packet: IpPacket): void {
    this.#tcpFlows.packet = packet;
    this.#tcp.receive(packet);
    this.#tcpFlows.packet = undefined;
  }

  /** Takes queries for the name server. */
  #resolves(datagram: UdpDatagram, dns: DnsForwarder): boolean {
    const { packet, port } = datagram;
    if (port !== dnsPort || this.#plan.kindOf(packet.destination) !== 'dns') return false;
    if (!this.#plan.isGuest(packet.source)) return false;
    dns.receive(datagram);
    return true;
  }

  #addressed({ address: text, port }: Place, otherwise: Uint8Array | undefined): TcpAddress {
    const address = text === undefined ? otherwise : addressFrom(text);
    if (address === undefined || !Number.isInteger(port) || port < 1 || port > 65_535) {
      throw new UsageError('BAD_ARGUMENT', `${text ?? 'nobody'} and ${port} are no address and port`);
    }
    return { address, port };
  }

  #icmp6(packet: IpPacket): void {
    if (packet.length < 8) {
      this.statistics.drop('truncated');
      return;
    }
    if (!isNdp(packet)) {
      if (packet.source.some((byte) => byte !== 0)) this.#icmp.receive(packet);
      return;
    }
    if (!rightChecksum(packet)) {
      this.statistics.drop('bad-checksum');
      return;
    }
    this.#ndp?.receive(packet);
  }
}
