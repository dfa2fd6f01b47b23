import { put16 } from '../link/bytes.ts';
import { ipProtocol, ipv4Header, largestPacket } from '../link/numbers.ts';
import type { IpSender, SendOptions } from './ip-send.ts';

export const udpHeader = 8;

/** Puts the header of UDP in front of a payload. */
export class UdpSender {
  readonly #sender: IpSender;

  constructor(sender: IpSender) {
    this.#sender = sender;
  }

  /** Where the next datagram's payload may be written. */
  payload(version: 4 | 6): Uint8Array {
    return this.#sender.buffer.subarray(this.#sender.payloadOffset(version) + udpHeader);
  }

  /** Sends so many bytes of what was written there; false when they are too many for a datagram. */
  send(
    from: Uint8Array,
    fromPort: number,
    to: Uint8Array,
    toPort: number,
    length: number,
    options: SendOptions = {},
  ): boolean {
    const version = from.length === 4 ? 4 : 6;
    const total = udpHeader + length;
    if (total > largestPacket - (version === 4 ? ipv4Header : 0)) return false;
    const { buffer } = this.#sender;
    const at = this.#sender.payloadOffset(version);
    put16(buffer, at, fromPort);
    put16(buffer, at + 2, toPort);
    put16(buffer, at + 4, total);
    this.#sender.sumPayload(from, to, ipProtocol.UDP, total, 6);
    this.#sender.send(from, to, ipProtocol.UDP, total, options);
    return true;
  }
}
