import { put32 } from '../link/bytes.ts';
import { ipProtocol } from '../link/numbers.ts';
import type { IpPacket } from './ip-packet.ts';
import type { IpSender } from './ip-send.ts';
import type { Settings } from './options.ts';
import type { FailureReason } from './uplink.ts';

/** What is wrong with a packet, and how each ICMP says it: type and code. */
const codes = Object.freeze({
  'network-unreachable': { 4: [3, 0], 6: [1, 0] },
  'host-unreachable': { 4: [3, 1], 6: [1, 3] },
  'protocol-unreachable': { 4: [3, 2], 6: [4, 1] },
  'port-unreachable': { 4: [3, 3], 6: [1, 4] },
  'too-big': { 4: [3, 4], 6: [2, 0] },
  prohibited: { 4: [3, 13], 6: [1, 1] },
  'hop-limit': { 4: [11, 0], 6: [3, 0] },
  'reassembly-time': { 4: [11, 1], 6: [3, 1] },
  'bad-header': { 4: [12, 0], 6: [4, 0] },
  'bad-option': { 4: [12, 0], 6: [4, 2] },
} as const);

/** Any of them. */
export type IcmpError = keyof typeof codes;

/** How ICMP calls what an uplink could not do with a datagram. */
export const icmpErrorOf: Readonly<Record<FailureReason, IcmpError>> = Object.freeze({
  refused: 'port-unreachable',
  reset: 'port-unreachable',
  'host-unreachable': 'host-unreachable',
  'network-unreachable': 'network-unreachable',
  prohibited: 'prohibited',
  'timed-out': 'host-unreachable',
});

/** Bytes that a message may have, so that it never has to be cut: RFC 1812, 4.3.2.3, and RFC 4443, 2.4. */
const longest = { 4: 576, 6: 1280 } as const;
const header = 8;

/** Messages at once, and in a second. */
const burst = 200;

/** Tells guests what became of their packets, no more often than is good for anybody. */
export class IcmpErrors {
  readonly #settings: Settings;
  readonly #sender: IpSender;
  #tokens = burst;
  #refilled: number;
  /** Messages that were not sent, as there were too many. */
  suppressed = 0;

  constructor(settings: Settings, sender: IpSender) {
    this.#settings = settings;
    this.#sender = sender;
    this.#refilled = settings.clock.now();
  }

  /** Says what is wrong with a packet to whoever sent it. `parameter` is a pointer or an MTU. */
  report(packet: IpPacket, error: IcmpError, parameter = 0): void {
    // About what was sent to many, or by nobody in particular, nothing is said: RFC 1122, 3.2.2, and RFC 4443, 2.4.
    if (packet.toMany || isError(packet)) return;
    this.reportQuoted(packet.whole, packet.source, error, parameter);
  }

  /** Says what is wrong with a packet of which a copy of the first bytes is left. */
  reportQuoted(quoted: Uint8Array, to: Uint8Array, error: IcmpError, parameter = 0): void {
    const version = to.length === 4 ? 4 : 6;
    const { ipv4, ipv6 } = this.#settings;
    const from = version === 4 ? ipv4?.host : ipv6?.host;
    if (from === undefined || to.every((byte) => byte === 0) || !this.#allowed()) return;
    const { buffer } = this.#sender;
    const at = this.#sender.payloadOffset(version);
    const room = longest[version] - (version === 4 ? 20 : 40) - header;
    const quote = quoted.subarray(0, room);
    const [type, code] = codes[error][version];
    const pointer = version === 4 && type === 12;
    buffer[at] = type;
    buffer[at + 1] = code;
    put32(buffer, at + 4, pointer ? parameter * 0x100_0000 : parameter);
    buffer.set(quote, at + header);
    const length = header + quote.length;
    this.#sender.sumIcmp(from, to, length);
    this.#sender.send(from, to, version === 4 ? ipProtocol.ICMP : ipProtocol.ICMPV6, length);
  }

  #allowed(): boolean {
    const now = this.#settings.clock.now();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#refilled) * burst) / 1000);
    this.#refilled = now;
    if (this.#tokens < 1) {
      this.suppressed++;
      return false;
    }
    this.#tokens--;
    return true;
  }
}

/** True of ICMP's own messages of errors, about which there are none. */
function isError({ version, protocol: number, bytes, offset, length }: IpPacket): boolean {
  if (version === 4 && number === ipProtocol.ICMP) {
    const type = bytes[offset];
    return length < 1 || !(type === 0 || type === 8 || type === 13);
  }
  return version === 6 && number === ipProtocol.ICMPV6 && (length < 1 || bytes[offset]! < 128);
}
