import { put16, put32 } from '../link/bytes.ts';
import { completeChecksum } from '../link/finish-checksum.ts';
import { finished, internetChecksum, type Offload, segmentation, transportChecksum } from '../link/index.ts';
import { dontFragment, writeIpHeader } from '../link/ip-header.ts';
import {
  ethernetHeader,
  etherType,
  ipProtocol,
  ipv4Header,
  ipv6Header,
  largestPacket,
} from '../link/numbers.ts';
import { sameBytes } from './address.ts';
import type { Neighbours } from './neighbours.ts';
import type { Settings } from './options.ts';
import type { Output } from './output.ts';
import { pseudoSum } from './pseudo-header.ts';

const moreFragments = 0x2000;
/** Of a header of a fragment of IPv6. */
const fragmentHeader = 8;

/** What a sender of packets goes by. */
export type SenderSettings = Pick<Settings, 'mac' | 'mtu' | 'random' | 'ipv4'>;

/** What the sender of a packet may say beside where to. */
export interface SendOptions {
  /** 64 unless told. */
  readonly hopLimit?: number;
  /** The station it goes to, where that is not to be looked up. */
  readonly mac?: Uint8Array;
}

/**
 * Puts the headers of IP and Ethernet in front of what other protocols have to say, and sends it, in fragments if need be.
 * There is one buffer to say it in: `payloadOffset` tells where, and `send` sends what was written there.
 */
export class IpSender {
  /** Where payload is written, `payloadOffset` bytes from the start. */
  readonly buffer = new Uint8Array(ethernetHeader + ipv6Header + largestPacket);
  readonly #pieces = new Uint8Array(ethernetHeader + ipv6Header + largestPacket);
  readonly #output: Output;
  readonly #neighbours: Pick<Neighbours, 'find' | 'wait'>;
  readonly #settings: SenderSettings;
  #identification = 0;

  constructor(output: Output, neighbours: Pick<Neighbours, 'find' | 'wait'>, settings: SenderSettings) {
    this.#output = output;
    this.#neighbours = neighbours;
    this.#settings = settings;
    const seed = new Uint8Array(4);
    settings.random(seed);
    this.#identification = ((seed[0]! << 24) | (seed[1]! << 16) | (seed[2]! << 8) | seed[3]!) >>> 0;
  }

  payloadOffset(version: 4 | 6): number {
    return ethernetHeader + (version === 4 ? ipv4Header : ipv6Header);
  }

  /**
   * Completes the checksum of the payload in the buffer: over the pseudo header and `length` bytes.
   *
   * @param at where the checksum is, in the payload
   */
  sumPayload(source: Uint8Array, destination: Uint8Array, number: number, length: number, at: number): void {
    const start = ethernetHeader + (source.length === 4 ? ipv4Header : ipv6Header);
    const pseudo = pseudoSum(source, destination, number, length);
    put16(this.buffer, start + at, 0);
    put16(this.buffer, start + at, transportChecksum(this.buffer, start, start + length, pseudo));
  }

  /** As `sumPayload`, of ICMP: the one of IPv4 has no pseudo header. */
  sumIcmp(source: Uint8Array, destination: Uint8Array, length: number): void {
    if (source.length === 16) {
      this.sumPayload(source, destination, ipProtocol.ICMPV6, length, 2);
      return;
    }
    const start = ethernetHeader + ipv4Header;
    put16(this.buffer, start + 2, 0);
    put16(this.buffer, start + 2, internetChecksum(this.buffer, start, start + length));
  }

  /** Sends the `length` bytes of payload in the buffer. */
  send(
    source: Uint8Array,
    destination: Uint8Array,
    number: number,
    length: number,
    options: SendOptions = {},
  ): void {
    const header = source.length === 4 ? ipv4Header : ipv6Header;
    const { buffer } = this;
    if (header + length > this.#settings.mtu) {
      this.#fragments(source, destination, number, length, options);
      return;
    }
    this.#header(buffer, source, destination, number, length, options.hopLimit ?? 64, 0);
    const frame = buffer.subarray(0, ethernetHeader + header + length);
    this.#sendFrame(frame, destination, options.mac);
  }

  /**
   * Sends payload that lies behind enough room for headers, with what is left to do to it. False when there is no room and
   * it is to be sent again.
   */
  sendInPlace(
    source: Uint8Array,
    destination: Uint8Array,
    number: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
    offload: Offload,
  ): boolean {
    const header = source.length === 4 ? ipv4Header : ipv6Header;
    const frame = bytes.subarray(offset - header - ethernetHeader, offset + length);
    this.#header(frame, source, destination, number, length, 64, source.length === 4 ? dontFragment : 0);
    const mac = this.#neighbours.find(destination);
    if (mac === undefined) {
      // What waits is a frame alone, so finished. One that is to be cut is lost, as in any network.
      if (offload.segmentation === segmentation.NONE)
        this.#neighbours.wait(destination, finishedCopy(frame, offload));
      return true;
    }
    frame.set(mac, 0);
    return this.#output.sendOrWait(frame, offload);
  }

  #sendFrame(frame: Uint8Array, destination: Uint8Array, mac: Uint8Array | undefined): void {
    if (mac !== undefined) frame.set(mac, 0);
    else if (!multicastMac(destination, frame, this.#settings)) {
      const station = this.#neighbours.find(destination);
      if (station === undefined) {
        this.#neighbours.wait(destination, frame);
        return;
      }
      frame.set(station, 0);
    }
    this.#output.send(frame, finished);
  }

  /** Writes the headers of Ethernet, but for the destination, and of IP. */
  #header(
    frame: Uint8Array,
    source: Uint8Array,
    destination: Uint8Array,
    number: number,
    length: number,
    hopLimit: number,
    fragment: number,
  ): void {
    const isIpv4 = source.length === 4;
    frame.set(this.#settings.mac, 6);
    put16(frame, 12, isIpv4 ? etherType.IPV4 : etherType.IPV6);
    const identification = this.#identification;
    writeIpHeader(frame, ethernetHeader, {
      source,
      destination,
      protocol: number,
      hops: hopLimit,
      payload: length,
      identification,
      fragment,
    });
    // The fragments of one packet share a number.
    if (isIpv4 && (fragment & ~dontFragment) === 0) this.#identification = (identification + 1) >>> 0;
  }

  #fragments(
    source: Uint8Array,
    destination: Uint8Array,
    number: number,
    length: number,
    options: SendOptions,
  ): void {
    const ipv4 = source.length === 4;
    const headers = ipv4 ? ipv4Header : ipv6Header + fragmentHeader;
    // All but the last are multiples of 8 bytes.
    const most = (this.#settings.mtu - headers) & ~7;
    const from = this.payloadOffset(ipv4 ? 4 : 6);
    const to = ethernetHeader + headers;
    const hopLimit = options.hopLimit ?? 64;
    for (let at = 0; at < length; at += most) {
      const size = Math.min(most, length - at);
      const more = at + size < length;
      const frame = this.#pieces.subarray(0, to + size);
      frame.set(this.buffer.subarray(from + at, from + at + size), to);
      if (ipv4) {
        const field = (at >> 3) | (more ? moreFragments : 0);
        this.#header(frame, source, destination, number, size, hopLimit, field);
      } else {
        this.#header(frame, source, destination, ipProtocol.FRAGMENT, fragmentHeader + size, hopLimit, 0);
        const extension = ethernetHeader + ipv6Header;
        put16(frame, extension, number << 8);
        put16(frame, extension + 2, at | (more ? 1 : 0));
        put32(frame, extension + 4, this.#identification);
      }
      this.#sendFrame(frame, destination, options.mac);
    }
    this.#identification = (this.#identification + 1) >>> 0;
  }
}

const allOnes = Uint8Array.of(255, 255, 255, 255);

/** Writes the MAC address of a group's or everybody's address of IP; false when it is one station's. */
function multicastMac(destination: Uint8Array, frame: Uint8Array, { ipv4 }: SenderSettings): boolean {
  if (destination.length === 16) {
    if (destination[0] !== 0xff) return false;
    put16(frame, 0, 0x3333);
    frame.set(destination.subarray(12), 2);
    return true;
  }
  const toAll =
    sameBytes(destination, allOnes) || (ipv4 !== undefined && sameBytes(destination, ipv4.broadcast));
  if (toAll) frame.fill(0xff, 0, 6);
  return toAll;
}

/** A copy of a frame with its checksum completed. */
function finishedCopy(
  frame: Uint8Array,
  { needsChecksum, checksumStart, checksumOffset }: Offload,
): Uint8Array {
  if (!needsChecksum) return frame;
  const copy = frame.slice();
  completeChecksum(copy, checksumStart, checksumOffset);
  return copy;
}
