import { get16, get32 } from '../link/bytes.ts';
import { internetSum } from '../link/index.ts';
import { ipProtocol } from '../link/numbers.ts';
import { formatAddress } from './address.ts';
import type { Forwarding } from './forwarding.ts';
import type { IpPacket } from './ip-packet.ts';
import type { IpSender } from './ip-send.ts';
import type { Settings } from './options.ts';
import { pseudoSum } from './pseudo-header.ts';
import type { Statistics } from './statistics.ts';
import type { Tcp } from './tcp/index.ts';

const header = 8;
/** Pings that wait for their answer outside, at a time, and how large they may be. */
const mostPings = 64;
const mostPayload = 65_000;

const types = Object.freeze({
  4: { request: 8, reply: 0, unreachable: 3, tooBig: -1 },
  6: { request: 128, reply: 129, unreachable: 1, tooBig: 2 },
} as const);

/** ICMP of both versions: echo, and what guests say of packets of ours. NDP has a file of its own. */
export class Icmp {
  readonly #settings: Settings;
  readonly #statistics: Statistics;
  readonly #sender: IpSender;
  readonly #forwarding: Pick<Forwarding, 'route'>;
  readonly #tcp: Tcp;
  #pings = 0;

  constructor(
    settings: Settings,
    statistics: Statistics,
    sender: IpSender,
    forwarding: Pick<Forwarding, 'route'>,
    tcp: Tcp,
  ) {
    this.#settings = settings;
    this.#statistics = statistics;
    this.#sender = sender;
    this.#forwarding = forwarding;
    this.#tcp = tcp;
  }

  receive(packet: IpPacket): void {
    const { version, bytes, offset, length } = packet;
    if (length < header) {
      this.#statistics.drop('truncated');
      return;
    }
    if (!rightChecksum(packet)) {
      this.#statistics.drop('bad-checksum');
      return;
    }
    const type = bytes[offset]!;
    if (type === types[version].request) {
      this.#echo(packet);
      return;
    }
    if (type === types[version].unreachable || type === types[version].tooBig) this.#quoted(packet);
  }

  #echo(packet: IpPacket): void {
    // Pings of a group would be answered by all of it; nobody needs that here.
    if (packet.toMany) return;
    const { version, source, destination, bytes, offset, length } = packet;
    const content = bytes.subarray(offset + 4, offset + length);
    const route = this.#forwarding.route(packet, 'icmp', 0);
    if (route === undefined) return;
    if (route.kind === 'own') {
      this.#reply(version, destination, source, content);
      return;
    }
    const echo = this.#settings.uplink?.echo;
    if (echo === undefined || this.#pings >= mostPings || length > mostPayload) {
      this.#statistics.drop(echo === undefined ? 'uplink' : 'limit');
      return;
    }
    const [from, to, kept] = [destination.slice(), source.slice(), content.slice()];
    this.#pings++;
    void this.#settings.uplink!.echo!(formatAddress(destination), kept.subarray(4)).then(
      (answered) => {
        this.#pings--;
        if (answered) this.#reply(version, from, to, kept);
      },
      () => {
        this.#pings--;
      },
    );
  }

  /** Answers a ping with what it held, from its identifier on. */
  #reply(version: 4 | 6, from: Uint8Array, to: Uint8Array, content: Uint8Array): void {
    const { buffer } = this.#sender;
    const at = this.#sender.payloadOffset(version);
    const length = 4 + content.length;
    buffer[at] = types[version].reply;
    buffer[at + 1] = 0;
    buffer.set(content, at + 4);
    this.#sender.sumIcmp(from, to, length);
    this.#sender.send(from, to, version === 4 ? ipProtocol.ICMP : ipProtocol.ICMPV6, length);
  }

  /** A guest says that a packet did not arrive: of TCP, whose connections hear of it. */
  #quoted({ version, bytes, offset, length }: IpPacket): void {
    const inner = offset + header;
    const least = version === 4 ? 20 : 40;
    if (length < header + least + 8 || bytes[inner]! >> 4 !== version) return;
    const size = version === 4 ? (bytes[inner]! & 0x0f) * 4 : least;
    const number = version === 4 ? bytes[inner + 9] : bytes[inner + 6];
    if (size < least || length < header + size + 8 || number !== ipProtocol.TCP) return;
    const at = inner + (version === 4 ? 12 : 8);
    const addressLength = version === 4 ? 4 : 16;
    const quoted = {
      source: bytes.slice(at, at + addressLength),
      destination: bytes.slice(at + addressLength, at + 2 * addressLength),
      bytes,
      offset: inner + size,
    };
    const [type, code] = [bytes[offset], bytes[offset + 1]];
    if (version === 4 && type === 3 && code === 4) this.#tcp.tooBig(quoted, get16(bytes, offset + 6));
    else if (version === 6 && type === 2) this.#tcp.tooBig(quoted, get32(bytes, offset + 4));
    else this.#tcp.unreachable(quoted);
  }
}

/** True when a message's checksum is right, or need not be looked at. */
export function rightChecksum({ version, source, destination, bytes, offset, length }: IpPacket): boolean {
  const from = version === 4 ? 0 : pseudoSum(source, destination, ipProtocol.ICMPV6, length);
  return internetSum(bytes, offset, offset + length, from) === 0xffff;
}
