import type { Endpoint, Link, Offload, TakenOffloads } from '../link/index.ts';
import { sameBytes } from './address.ts';
import { Arp } from './arp.ts';
import { get16 } from './bytes.ts';
import { DhcpServer, dhcpPort } from './dhcp.ts';
import { Forwarding } from './forwarding.ts';
import { Icmp, rightChecksum } from './icmp.ts';
import { IcmpErrors } from './icmp-errors.ts';
import { ethernetHeader, etherType, type IpPacket, protocol } from './ip-packet.ts';
import { IpReceiver } from './ip-receive.ts';
import { IpSender } from './ip-send.ts';
import { isNdp, Ndp } from './ndp.ts';
import { Neighbours } from './neighbours.ts';
import { type NetworkOptions, type Settings, settingsOf } from './options.ts';
import { Output } from './output.ts';
import { Plan } from './plan.ts';
import { Statistics } from './statistics.ts';
import { Udp } from './udp.ts';
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

/** What {@link userNetwork} makes. Joined to a link like any other end of one. */
export class UserNetwork implements Endpoint {
  readonly takes = takes;
  readonly statistics = new Statistics();
  readonly #settings: Settings;
  readonly #output: Output;
  readonly #arp: Arp;
  readonly #ndp: Ndp | undefined;
  readonly #neighbours: Neighbours;
  readonly #ip: IpReceiver;
  readonly #icmp: Icmp;
  readonly #udp: Udp;
  readonly #inbox: { readonly frame: Uint8Array; readonly offload: Offload }[] = [];
  /** Their sender was told to wait. */
  #inboxFull = false;
  #closed = false;

  /** @internal */
  constructor(settings: Settings) {
    const { statistics } = this;
    this.#settings = settings;
    const plan = new Plan(settings);
    const output = new Output(statistics);
    this.#output = output;
    this.#neighbours = new Neighbours(
      settings.clock,
      statistics,
      (address) => (address.length === 4 ? this.#arp.ask(address) : this.#ndp?.ask(address)),
      (frame) => output.send(frame),
    );
    const sender = new IpSender(output, this.#neighbours, settings);
    const errors = new IcmpErrors(settings, sender);
    const forwarding = new Forwarding(settings, statistics, plan, errors);
    const udpSender = new UdpSender(sender);
    const { ipv4, ipv6, dhcp } = settings;
    this.#arp = new Arp(settings, statistics, plan, output, this.#neighbours);
    this.#ndp = ipv6 && new Ndp(settings, ipv6, statistics, plan, sender, this.#neighbours);
    const dhcpServer =
      ipv4 && dhcp && new DhcpServer(settings, dhcp, ipv4, statistics, udpSender, this.#neighbours);
    this.#icmp = new Icmp(settings, statistics, sender, forwarding, undefined);
    this.#udp = new Udp(statistics, errors, [
      ({ packet, port, payload }) => {
        if (packet.version !== 4 || port !== dhcpPort.SERVER || dhcpServer === undefined) return false;
        if (!packet.toMany && !sameBytes(packet.destination, ipv4!.host)) return false;
        dhcpServer.receive(packet, payload);
        return true;
      },
    ]);
    this.#ip = new IpReceiver(
      settings,
      statistics,
      plan,
      errors,
      (address, frame) => this.#neighbours.learn(address, frame.subarray(6, 12)),
      (packet) => this.#deliver(packet, errors),
    );
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

  /** Lets go of everything: connections are reset, sockets closed, frames lost from now on. */
  close(): void {
    this.#closed = true;
    this.#inbox.length = 0;
    this.#ndp?.stop();
    this.#ip.reassembly.clear();
    this.#neighbours.clear();
    this.#settings.uplink?.close?.();
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

  #deliver(packet: IpPacket, errors: IcmpErrors): void {
    const { version, protocol: number } = packet;
    // Who has no address yet may ask for one, and do nothing else.
    const nameless = packet.source.every((byte) => byte === 0);
    if (number === protocol.UDP && (!nameless || version === 4)) {
      this.#udp.receive(packet);
      return;
    }
    if (number === protocol.ICMPV6 && version === 6) {
      this.#icmp6(packet);
      return;
    }
    if (nameless) {
      this.statistics.drop('bad-source');
      return;
    }
    if (number === protocol.ICMP && version === 4) {
      this.#icmp.receive(packet);
      return;
    }
    this.statistics.drop('unknown-protocol');
    // Groups come and go without us.
    if (number !== protocol.IGMP) errors.report(packet, 'protocol-unreachable', version === 6 ? 6 : 0);
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
