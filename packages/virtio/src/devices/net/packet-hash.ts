import { networkOffset, PacketHeaders } from '../../link/headers.ts';
import { ipProtocol } from '../../link/numbers.ts';
import { hashReport, hashType } from './spec-hash.ts';
import type { Toeplitz } from './toeplitz.ts';
import { TunnelHeaders } from './tunnel-headers.ts';

/** Of the options in a header of destination options: the home address (RFC 6275), and padding of one byte. */
const homeAddressOption = 0xc9;
const pad1 = 0;

/**
 * Calculates the hash of one packet after the other.
 *
 * @spec 5.1.9.4.4.4 device: Device Types / Network Device / Device Operation / Control Virtqueue / Inner Header Hash
 */
export class PacketHash {
  /** Of the packet that was seen last; 0 with a report of NONE. */
  value = 0;
  /** One of `hashReport`. */
  report: number = hashReport.NONE;
  readonly #headers = new PacketHeaders();
  readonly #tunnel = new TunnelHeaders();
  readonly #input = new Uint8Array(36);

  /**
   * True when the packet has a hash.
   *
   * @param types bits of `hashType`: over what hashes are calculated
   * @param tunnels bits of `hashTunnelType`: encapsulations whose inner headers are hashed
   */
  calculate(frame: Uint8Array, types: number, toeplitz: Toeplitz, tunnels: number): boolean {
    this.value = 0;
    this.report = hashReport.NONE;
    if (types === 0) return false;
    const headers = this.#headers;
    const network = networkOffset(frame);
    if (network < 0 || !headers.read(frame, network)) return false;
    if (tunnels !== 0 && this.#tunnel.read(frame, headers, tunnels)) {
      const { innerAt } = this.#tunnel;
      if (innerAt < 0 || !headers.read(frame, innerAt)) return false;
    }
    const report = headers.version === 4 ? this.#report4(frame, types) : this.#report6(frame, types);
    if (report === hashReport.NONE) return false;
    this.report = report;
    this.value = toeplitz.hash(this.#input, this.#fill(frame, report));
    return true;
  }

  /** The protocol, where the packet has the ports of its header: later fragments have none, so none of them has. */
  #transport(frame: Uint8Array): number {
    const { fragment, protocol, transportAt } = this.#headers;
    return fragment || transportAt + 4 > frame.length ? 0 : protocol;
  }

  #report4(frame: Uint8Array, types: number): number {
    const transport = this.#transport(frame);
    if (transport === ipProtocol.TCP && (types & hashType.TCPv4) !== 0) return hashReport.TCPv4;
    if (transport === ipProtocol.UDP && (types & hashType.UDPv4) !== 0) return hashReport.UDPv4;
    return (types & hashType.IPv4) !== 0 ? hashReport.IPv4 : hashReport.NONE;
  }

  #report6(frame: Uint8Array, types: number): number {
    const transport = this.#transport(frame);
    const isTcp = transport === ipProtocol.TCP;
    const isUdp = transport === ipProtocol.UDP;
    if (this.#headers.extensions > 0) {
      if (isTcp && (types & hashType.TCP_EX) !== 0) return hashReport.TCPv6_EX;
      if (isUdp && (types & hashType.UDP_EX) !== 0) return hashReport.UDPv6_EX;
      if ((types & hashType.IP_EX) !== 0) return hashReport.IPv6_EX;
    }
    if (isTcp && (types & hashType.TCPv6) !== 0) return hashReport.TCPv6;
    if (isUdp && (types & hashType.UDPv6) !== 0) return hashReport.UDPv6;
    return (types & hashType.IPv6) !== 0 ? hashReport.IPv6 : hashReport.NONE;
  }

  /** Puts the fields that are hashed one behind the other; returns their bytes. */
  #fill(frame: Uint8Array, report: number): number {
    const { version, addressesAt, transportAt, networkAt } = this.#headers;
    const input = this.#input;
    let length = version === 4 ? 8 : 32;
    for (let i = 0; i < length; i++) input[i] = frame[addressesAt + i]!;
    if (report >= hashReport.IPv6_EX) this.#fillMobile(frame, networkAt);
    const isOfAddresses =
      report === hashReport.IPv4 || report === hashReport.IPv6 || report === hashReport.IPv6_EX;
    if (isOfAddresses) return length;
    for (let i = 0; i < 4; i++) input[length++] = frame[transportAt + i]!;
    return length;
  }

  /** A mobile node's own addresses, in its options and its routing header, in place of those that it has now. */
  #fillMobile(frame: Uint8Array, networkAt: number): void {
    let next = frame[networkAt + 6]!;
    let at = networkAt + 40;
    // `PacketHeaders` found that all of these lie within the frame.
    for (let i = 0; i < this.#headers.extensions; i++) {
      const length = next === ipProtocol.FRAGMENT ? 8 : (frame[at + 1]! + 1) * 8;
      if (next === ipProtocol.ROUTING && frame[at + 2] === 2 && length === 24) {
        for (let j = 0; j < 16; j++) this.#input[16 + j] = frame[at + 8 + j]!;
      } else if (next === ipProtocol.DESTINATION_OPTIONS) {
        const home = homeAddressAt(frame, at + 2, at + length);
        if (home >= 0) for (let j = 0; j < 16; j++) this.#input[j] = frame[home + j]!;
      }
      next = frame[at]!;
      at += length;
    }
  }
}

/** Where the home address begins among options; −1 when there is none. */
function homeAddressAt(frame: Uint8Array, from: number, to: number): number {
  for (let at = from; at < to; ) {
    const type = frame[at]!;
    if (type === pad1) {
      at++;
      continue;
    }
    if (at + 2 > to) return -1;
    const length = frame[at + 1]!;
    if (type === homeAddressOption && length === 16 && at + 18 <= to) return at + 2;
    at += 2 + length;
  }
  return -1;
}
