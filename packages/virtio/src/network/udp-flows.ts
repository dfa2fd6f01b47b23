import { addressFrom, addressKey, isLoopback, sameBytes } from './address.ts';
import type { Forwarding } from './forwarding.ts';
import { type IcmpErrors, icmpErrorOf } from './icmp-errors.ts';
import type { Settings } from './options.ts';
import type { Plan } from './plan.ts';
import { quotedHeaders } from './quoted.ts';
import type { Statistics } from './statistics.ts';
import type { UdpDatagram } from './udp.ts';
import type { UdpSender } from './udp-send.ts';
import type { DatagramSocket, FailureReason } from './uplink.ts';

/** A port of a guest's, and the socket that stands for it outside. */
interface Flow {
  readonly guest: Uint8Array;
  readonly port: number;
  readonly socket: DatagramSocket;
  lastUsed: number;
  /** Where it sent last, and what the uplink calls that. */
  destination: Uint8Array;
  destinationPort: number;
  outside: string;
}

/**
 * Datagrams between guests and the world: one socket of the uplink's for each port of a guest's, closed when it was not used
 * for a while. Who answers may be anybody, as with most routers in homes.
 */
export class UdpFlows {
  readonly #settings: Settings;
  readonly #statistics: Statistics;
  readonly #plan: Plan;
  readonly #forwarding: Forwarding;
  readonly #errors: IcmpErrors;
  readonly #sender: UdpSender;
  /** The one that was not used for longest comes first. */
  readonly #flows = new Map<string, Flow>();
  #stop: (() => void) | undefined;

  constructor(
    settings: Settings,
    statistics: Statistics,
    plan: Plan,
    forwarding: Forwarding,
    errors: IcmpErrors,
    sender: UdpSender,
  ) {
    this.#settings = settings;
    this.#statistics = statistics;
    this.#plan = plan;
    this.#forwarding = forwarding;
    this.#errors = errors;
    this.#sender = sender;
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Takes a datagram that is for somebody outside; false when it is for the network itself. */
  receive(datagram: UdpDatagram): boolean {
    const { packet, sourcePort, port, payload } = datagram;
    if (packet.toMany || !this.#plan.isGuest(packet.source)) return false;
    const key = addressKey(packet.source) + String.fromCharCode(sourcePort);
    let flow = this.#flows.get(key);
    const again =
      flow !== undefined &&
      flow.destinationPort === port &&
      packet.hopLimit > 1 &&
      sameBytes(flow.destination, packet.destination);
    if (!again) {
      const route = this.#forwarding.route(packet, 'udp', port);
      if (route?.kind === 'own') return false;
      if (route === undefined) return true;
      flow ??= this.#open(datagram);
      if (flow === undefined) return true;
      flow.destination = packet.destination.slice();
      flow.destinationPort = port;
      flow.outside = route.address;
    }
    this.#use(key, flow!);
    if (!flow!.socket.send(payload, flow!.outside, port)) this.#statistics.drop('uplink');
    return true;
  }

  close(): void {
    for (const { socket } of this.#flows.values()) socket.close();
    this.#flows.clear();
    this.#stop?.();
    this.#stop = undefined;
  }

  #open({ packet, sourcePort }: UdpDatagram): Flow | undefined {
    const { uplink, limits } = this.#settings;
    if (uplink?.datagrams === undefined) {
      this.#statistics.drop('uplink');
      this.#errors.report(packet, 'prohibited');
      return undefined;
    }
    if (this.#flows.size >= limits.udpFlows) this.#closeOldest();
    const guest = packet.source.slice();
    const socket = uplink.datagrams(packet.version, {
      received: (bytes, address, port) => this.#answer(flow, bytes, address, port),
      failed: (reason, address, port) => this.#failed(flow, reason, address, port),
    });
    const flow: Flow = {
      guest,
      port: sourcePort,
      socket,
      lastUsed: 0,
      destination: new Uint8Array(),
      destinationPort: 0,
      outside: '',
    };
    return flow;
  }

  #use(key: string, flow: Flow): void {
    flow.lastUsed = this.#settings.clock.now();
    this.#flows.delete(key);
    this.#flows.set(key, flow);
    this.#watch();
  }

  #answer(flow: Flow, bytes: Uint8Array, address: string, port: number): void {
    const key = addressKey(flow.guest) + String.fromCharCode(flow.port);
    // What comes behind its end is nobody's.
    if (this.#flows.get(key) !== flow) return;
    const from = address === flow.outside ? flow.destination : this.#inside(address, flow.guest.length);
    if (from === undefined) {
      this.#statistics.drop('prohibited');
      return;
    }
    this.#use(key, flow);
    const payload = this.#sender.payload(flow.guest.length === 4 ? 4 : 6);
    if (bytes.length > payload.length) {
      this.#statistics.drop('limit');
      return;
    }
    payload.set(bytes);
    if (!this.#sender.send(from, port, flow.guest, flow.port, bytes.length)) this.#statistics.drop('limit');
  }

  /** What guests call an address of the uplink's; `undefined` for one that they shall not hear of. */
  #inside(text: string, length: number): Uint8Array | undefined {
    const address = addressFrom(text);
    if (address?.length !== length) return undefined;
    if (isLoopback(address)) {
      if (!this.#settings.hostLoopback) return undefined;
      return length === 4 ? this.#settings.ipv4?.host : this.#settings.ipv6?.host;
    }
    return this.#plan.kindOf(address) === 'outside' ? address : undefined;
  }

  #failed(flow: Flow, reason: FailureReason, address: string, port: number): void {
    const to = address === flow.outside ? flow.destination : this.#inside(address, flow.guest.length);
    if (to === undefined) return;
    const quoted = quotedHeaders(17, flow.guest, flow.port, to, port);
    this.#errors.reportQuoted(quoted, flow.guest, icmpErrorOf[reason]);
  }

  #closeOldest(): void {
    for (const [key, { socket }] of this.#flows) {
      socket.close();
      this.#flows.delete(key);
      return;
    }
  }

  #watch(): void {
    if (this.#stop !== undefined) return;
    const { clock, limits } = this.#settings;
    for (const { lastUsed } of this.#flows.values()) {
      this.#stop = clock.setTimer(Math.max(1, lastUsed + limits.udpIdle - clock.now()), () => this.#sweep());
      return;
    }
  }

  #sweep(): void {
    this.#stop = undefined;
    const { clock, limits } = this.#settings;
    for (const { lastUsed } of this.#flows.values()) {
      if (lastUsed + limits.udpIdle > clock.now()) break;
      this.#closeOldest();
    }
    this.#watch();
  }
}
