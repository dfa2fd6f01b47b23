import { UsageError } from '../errors.ts';
import { get16, put16 } from '../link/bytes.ts';
import { type Endpoint, type Link, noOffloads, type Offload, type TakenOffloads } from '../link/index.ts';
import { ethernetHeader, etherType, ipProtocol } from '../link/numbers.ts';
import { addressFrom, formatAddress, Prefix, parseIpv4, parseIpv6, sameBytes } from './address.ts';
import { Arp } from './arp.ts';
import { Icmp, rightChecksum } from './icmp.ts';
import type { IpPacket } from './ip-packet.ts';
import { IpReceiver } from './ip-receive.ts';
import { IpSender } from './ip-send.ts';
import { isNdp, Ndp, ndpType } from './ndp.ts';
import { Neighbours } from './neighbours.ts';
import { type Settings, settingsOf } from './options.ts';
import { Output } from './output.ts';
import { Plan } from './plan.ts';
import { Services, type StreamService } from './services.ts';
import { Statistics } from './statistics.ts';
import { type Clock, TcpStack, type TcpStream } from './tcp/index.ts';
import { tcpSender } from './tcp-send.ts';
import { Udp } from './udp.ts';
import { UdpSender } from './udp-send.ts';

/** Who a station is, and by whom it reaches what is not on its link. What is absent is as QEMU's user network has it. */
export interface StationOptions {
  /** Its address of IPv4 and the length of its network's prefix: `10.0.2.15/24` unless told. */
  readonly ipv4?: string | undefined;
  /** The router: 10.0.2.2 unless told. */
  readonly gateway?: string | undefined;
  /** Its address of IPv6 and the length of its network's prefix: `fec0::15/64` unless told. */
  readonly ipv6?: string | undefined;
  /** The router of IPv6, by its address on the link: fe80::2 unless told. */
  readonly gateway6?: string | undefined;
  /** 52:54:00:12:34:56 unless told. */
  readonly mac?: string | undefined;
  /** The largest packet of IP, in bytes; 1500 unless told. */
  readonly mtu?: number | undefined;
  /** What may be left to do to frames that it is given; nothing unless told. */
  readonly takes?: TakenOffloads | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: ((bytes: Uint8Array) => void) | undefined;
}

/** A port of a station's at which datagrams are taken, and from which they are sent. */
export interface StationSocket {
  send(bytes: Uint8Array, address: string, port: number): void;
  close(): void;
}

/** Hears of datagrams; their bytes are lent. */
export type DatagramHandler = (bytes: Uint8Array, address: string, port: number) => void;

/** Takes a station's own address, with the rest of what is known of its network. */
function stationSettings(options: StationOptions): Settings {
  const {
    clock,
    random,
    mtu,
    mac = '52:54:00:12:34:56',
    ipv4 = '10.0.2.15/24',
    ipv6 = 'fec0::15/64',
  } = options;
  const network = Prefix.parse(ipv4, 4);
  const prefix = Prefix.parse(ipv6, 6);
  const own = parseIpv4(ipv4.slice(0, ipv4.indexOf('/')));
  const own6 = parseIpv6(ipv6.slice(0, ipv6.indexOf('/')));
  const gateway = parseIpv4(options.gateway ?? '10.0.2.2');
  return {
    ...settingsOf({ clock, random, mtu, mac, ipv4: false, ipv6: false }),
    ipv4: { network, host: own, dns: own, guest: gateway, broadcast: network.last },
    ipv6: { prefix, host: own6, dns: own6, router: own6 },
  };
}

/**
 * One host of a link, for a program that wants to be one: it connects and listens, sends datagrams and pings, at an address
 * that it is told. Behind a network device's driver it gives a TypeScript program that device's network.
 */
export class Station implements Endpoint {
  readonly takes: TakenOffloads;
  readonly statistics = new Statistics();
  readonly #settings: Settings;
  readonly #plan: Plan;
  readonly #output: Output;
  readonly #neighbours: Neighbours;
  readonly #arp: Arp;
  readonly #ndp: Ndp;
  readonly #ip: IpReceiver;
  readonly #icmp: Icmp;
  readonly #udp: Udp;
  readonly #udpSender: UdpSender;
  readonly #sender: IpSender;
  readonly #tcp: TcpStack;
  readonly #services = new Services();
  readonly #sockets = new Map<number, DatagramHandler>();
  readonly #pings = new Map<number, (answer: Uint8Array) => void>();
  readonly #inbox: { readonly frame: Uint8Array; readonly offload: Offload }[] = [];
  #nextPing = 1;

  /** @throws {UsageError} BAD_ARGUMENT */
  constructor(options: StationOptions = {}) {
    this.takes = options.takes ?? noOffloads;
    const { statistics } = this;
    const settings = stationSettings(options);
    const { clock, random, mtu } = settings;
    const ipv6 = settings.ipv6!;
    this.#settings = settings;
    const plan = new Plan(settings);
    this.#plan = plan;
    const output = new Output(statistics);
    this.#output = output;
    const neighbours = new Neighbours(
      clock,
      statistics,
      (address) => (address.length === 4 ? this.#arp.ask(address) : this.#ndp.ask(address)),
      (frame) => output.send(frame),
    );
    this.#neighbours = neighbours;
    const gateway6 = parseIpv6(options.gateway6 ?? 'fe80::2');
    const hop = (to: Uint8Array): Uint8Array =>
      plan.kindOf(to) === 'guest' ? to : to.length === 4 ? settings.ipv4!.guest : gateway6;
    const routed = {
      find: (to: Uint8Array) => neighbours.find(hop(to)),
      wait: (to: Uint8Array, frame: Uint8Array) => neighbours.wait(hop(to), frame),
    };
    const sender = new IpSender(output, routed, settings);
    this.#sender = sender;
    this.#udpSender = new UdpSender(sender);
    this.#arp = new Arp(settings, statistics, plan, output, neighbours);
    this.#ndp = new Ndp(settings, ipv6, statistics, plan, sender, neighbours);
    const more = (follow: boolean): void => output.more(follow);
    this.#tcp = new TcpStack({ clock, random, mtu, send: tcpSender(sender), more });
    output.onRoom = () => this.#tcp.room();
    this.#tcp.onConnect = (request) => {
      const service = this.#services.find(request.local.address, request.local.port);
      if (service === undefined) request.refuse();
      else service(request.accept());
    };
    this.#icmp = new Icmp(settings, statistics, sender, { route: () => ({ kind: 'own' }) }, this.#tcp);
    const noErrors = { report() {}, reportQuoted() {} };
    this.#udp = new Udp(statistics, noErrors, [
      ({ packet, sourcePort, port, payload }) => {
        this.#sockets.get(port)?.(payload, formatAddress(packet.source), sourcePort);
        return true;
      },
    ]);
    const check = { isGuest: () => true, isMany: (address: Uint8Array) => plan.isMany(address) };
    this.#ip = new IpReceiver(
      settings,
      statistics,
      check,
      noErrors,
      (address, frame) => {
        if (plan.kindOf(address) === 'guest') neighbours.learn(address, frame.subarray(6, 12));
      },
      (packet) => this.#deliver(packet),
    );
  }

  attached(link: Link): void {
    this.#output.attach(link);
  }

  carrier(): void {
    this.#output.clear();
  }

  room(): void {
    this.#output.room();
  }

  receive(frame: Uint8Array, offload: Offload): boolean {
    if (!this.#output.sending) {
      this.#receive(frame, offload);
      return true;
    }
    this.#inbox.push({ frame: frame.slice(), offload: { ...offload } });
    if (this.#inbox.length === 1) {
      void Promise.resolve().then(() => {
        for (const held of this.#inbox) this.#receive(held.frame, held.offload);
        this.#inbox.length = 0;
      });
    }
    return true;
  }

  /**
   * Connects to a place.
   *
   * @throws {HostError} CONNECTION_REFUSED when nobody listens there; CONNECTION_RESET when nobody answers.
   * @throws {UsageError} BAD_ARGUMENT for what is no address.
   */
  async connect(address: string, port: number): Promise<TcpStream> {
    const to = this.#addressOf(address);
    return await this.#tcp.connect({ address: this.#own(to), port: 0 }, { address: to, port });
  }

  /**
   * Takes connections at a port, of both kinds of IP.
   *
   * @throws {UsageError} BAD_STATE when somebody listens there.
   */
  listen(port: number, service: StreamService): { close(): void } {
    const own = [this.#settings.ipv4!.host, this.#settings.ipv6!.host];
    if (!own.every((address) => this.#services.add(address, port, service))) {
      throw new UsageError('BAD_STATE', `somebody listens at port ${port} already`);
    }
    return {
      close: () => {
        for (const address of own) this.#services.remove(address, port);
      },
    };
  }

  /**
   * Opens a port for datagrams.
   *
   * @throws {UsageError} BAD_STATE when it is open.
   */
  socket(port: number, handler: DatagramHandler): StationSocket {
    if (this.#sockets.has(port)) throw new UsageError('BAD_STATE', `port ${port} is open already`);
    this.#sockets.set(port, handler);
    return {
      send: (bytes, address, toPort) => {
        const to = this.#addressOf(address);
        this.#udpSender.payload(to.length === 4 ? 4 : 6).set(bytes);
        this.#udpSender.send(this.#own(to), port, to, toPort, bytes.length);
      },
      close: () => this.#sockets.delete(port),
    };
  }

  /** Asks whether somebody is there. Settles with what came back, and not at all when nothing does. */
  ping(address: string, payload: Uint8Array): Promise<Uint8Array> {
    const to = this.#addressOf(address);
    const ipv4 = to.length === 4;
    const { buffer } = this.#sender;
    const at = this.#sender.payloadOffset(ipv4 ? 4 : 6);
    const id = this.#nextPing++ & 0xffff;
    buffer.set([ipv4 ? 8 : 128, 0, 0, 0, 0, 0, 0, 1], at);
    put16(buffer, at + 4, id);
    buffer.set(payload, at + 8);
    const answer = new Promise<Uint8Array>((resolve) => this.#pings.set(id, resolve));
    const length = 8 + payload.length;
    const number = ipv4 ? ipProtocol.ICMP : ipProtocol.ICMPV6;
    this.#sender.sumIcmp(this.#own(to), to, length);
    this.#sender.send(this.#own(to), to, number, length);
    return answer;
  }

  close(): void {
    this.#tcp.close();
    this.#ip.reassembly.clear();
    this.#neighbours.clear();
  }

  #receive(frame: Uint8Array, offload: Offload): void {
    if (frame.length < ethernetHeader) return;
    const { mac } = this.#settings;
    if ((frame[0]! & 1) === 0 && !sameBytes(frame.subarray(0, 6), mac)) return;
    const type = get16(frame, 12);
    if (type === etherType.IPV4) this.#ip.receive4(frame, ethernetHeader, offload);
    else if (type === etherType.IPV6) this.#ip.receive6(frame, ethernetHeader, offload);
    else if (type === etherType.ARP) this.#arp.receive(frame, ethernetHeader);
  }

  #deliver(packet: IpPacket): void {
    const { bytes, offset, length, protocol: number } = packet;
    if (!packet.toMany && !this.#plan.isOwn(packet.destination)) return;
    if (number === ipProtocol.TCP && !packet.toMany) this.#tcp.receive(packet);
    else if (number === ipProtocol.UDP) this.#udp.receive(packet);
    else if (number === ipProtocol.ICMP || number === ipProtocol.ICMPV6) {
      if (length < 8) return;
      const type = bytes[offset]!;
      if (packet.version === 6 && isNdp(packet)) {
        const neighbour = type === ndpType.NEIGHBOUR_SOLICITATION || type === ndpType.NEIGHBOUR_ADVERTISEMENT;
        if (neighbour && rightChecksum(packet)) this.#ndp.receive(packet);
      } else if (type === (packet.version === 4 ? 0 : 129)) {
        const id = get16(bytes, offset + 4);
        this.#pings.get(id)?.(bytes.slice(offset + 8, offset + length));
        this.#pings.delete(id);
      } else this.#icmp.receive(packet);
    }
  }

  #own(to: Uint8Array): Uint8Array {
    return to.length === 4 ? this.#settings.ipv4!.host : this.#settings.ipv6!.host;
  }

  #addressOf(text: string): Uint8Array {
    const address = addressFrom(text);
    if (address === undefined) throw new UsageError('BAD_ARGUMENT', `"${text}" is no address`);
    return address;
  }
}
