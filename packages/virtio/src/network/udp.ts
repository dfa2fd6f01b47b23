import { get16 } from '../link/bytes.ts';
import { internetSum, segmentation } from '../link/index.ts';
import { ipProtocol } from '../link/numbers.ts';
import type { IcmpErrors } from './icmp-errors.ts';
import type { IpPacket } from './ip-packet.ts';
import { pseudoSum } from './pseudo-header.ts';
import type { Statistics } from './statistics.ts';
import { udpHeader } from './udp-send.ts';

/** A datagram that a guest sent: where to, and what. All of it is lent. */
export interface UdpDatagram {
  readonly packet: IpPacket;
  readonly sourcePort: number;
  readonly port: number;
  readonly payload: Uint8Array;
}

/** Somebody in the network who takes datagrams. False when this one is not for it. */
export type UdpService = (datagram: UdpDatagram) => boolean;

/** Takes datagrams of guests, and finds who they are for. */
export class Udp {
  readonly #statistics: Statistics;
  readonly #errors: Pick<IcmpErrors, 'report'>;
  readonly #services: readonly UdpService[];

  /** The services are asked in this order. */
  constructor(statistics: Statistics, errors: Pick<IcmpErrors, 'report'>, services: readonly UdpService[]) {
    this.#statistics = statistics;
    this.#errors = errors;
    this.#services = services;
  }

  receive(packet: IpPacket): void {
    const { bytes, offset, offload } = packet;
    if (packet.length < udpHeader) {
      this.#statistics.drop('truncated');
      return;
    }
    const length = get16(bytes, offset + 4);
    // The length in a header that is to be cut is of nothing yet.
    const cut = offload.segmentation === segmentation.UDP && offload.segmentSize > 0;
    if (!cut && (length < udpHeader || length > packet.length)) {
      this.#statistics.drop('truncated');
      return;
    }
    if (!offload.checksumValid && !offload.needsChecksum && !rightChecksum(packet, length)) {
      this.#statistics.drop('bad-checksum');
      return;
    }
    const sourcePort = get16(bytes, offset);
    const port = get16(bytes, offset + 2);
    const end = offset + (cut ? packet.length : length);
    const size = cut ? offload.segmentSize : end - offset;
    let at = offset + udpHeader;
    do {
      const payload = bytes.subarray(at, Math.min(at + size, end));
      this.#deliver({ packet, sourcePort, port, payload });
      at += size;
    } while (at < end);
  }

  #deliver(datagram: UdpDatagram): void {
    for (const service of this.#services) if (service(datagram)) return;
    if (datagram.packet.toMany) {
      this.#statistics.drop('prohibited');
      return;
    }
    this.#statistics.drop('no-such-host');
    this.#errors.report(datagram.packet, 'port-unreachable');
  }
}

/** Of IPv4 the field may say that there is none, of IPv6 not: RFC 8200, 8.1. */
function rightChecksum({ version, source, destination, bytes, offset }: IpPacket, length: number): boolean {
  if (get16(bytes, offset + 6) === 0) return version === 4;
  const pseudo = pseudoSum(source, destination, ipProtocol.UDP, length);
  return internetSum(bytes, offset, offset + length, pseudo) === 0xffff;
}
