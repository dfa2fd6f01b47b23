import { networkOffset, PacketHeaders } from '../../link/headers.ts';
import { ethernetHeader, ipProtocol } from '../../link/numbers.ts';
import {
  type Offload,
  type Segmentation,
  segmentation,
  type TakenOffloads,
  type TunnelOffload,
} from '../../link/offload.ts';
import { type Endian, guestView } from '../../spec/guest-endian.ts';
import { gsoFlag, gsoType, headerFlag, virtio_net_hdr } from './spec-header.ts';

const field = virtio_net_hdr.field;
const { NEEDS_CSUM, DATA_VALID, RSC_INFO, UDP_TUNNEL_CSUM, SECURITY } = headerFlag;
const { UDP_TUNNEL_IPV4, UDP_TUNNEL_IPV6, ECN } = gsoFlag;
const tunnelBits = UDP_TUNNEL_IPV4 | UDP_TUNNEL_IPV6;

/** Where TCP's header has its checksum. */
const tcpChecksum = 16;

/** The least headers of a packet: Ethernet and IPv4; UDP in it. */
const leastNetwork = 20;
const udpHeader = 8;

const notTunnelled = 'asks for the outer checksum of a tunnel without being in one';

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** How a header is read. */
export interface HeaderRules {
  /** What whoever sent it may leave to do. */
  readonly allowed: TakenOffloads;
  /** `hdr_len` is exact, where it is plausible; otherwise it is not looked at. */
  readonly exactLength: boolean;
  /** The flags that only devices set are looked at. */
  readonly fromDevice: boolean;
  /** RSC_EXT was negotiated. */
  readonly coalesced: boolean;
}

/**
 * The header before one frame: its bytes as they are in a buffer, and what they say. One serves frame after frame, and so
 * does its `offload`.
 */
export class FrameHeader {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly offload: Writable<Offload> = {
    needsChecksum: false,
    checksumStart: 0,
    checksumOffset: 0,
    checksumValid: false,
    segmentation: segmentation.NONE,
    segmentSize: 0,
    headerLength: 0,
    ecn: false,
    tunnel: undefined,
  };
  /** What was decoded last was put together of several segments, with RSC_EXT: `restore` says what is left to do to it. */
  coalesced = false;
  readonly #view: DataView;
  readonly #headers = new PacketHeaders();
  readonly #tunnel: Writable<TunnelOffload> = {
    ipv6: false,
    outerChecksum: false,
    outerTransportOffset: 0,
    innerNetworkOffset: 0,
  };

  /** `length` in bytes, as `headerLength` tells; numbers are in the guest's byte order. */
  constructor(length: number, endian: Endian) {
    // The fields behind the header's end are there to be read, and are 0.
    const whole = new Uint8Array(virtio_net_hdr.size);
    this.bytes = whole.subarray(0, length);
    this.#view = guestView(whole, endian);
  }

  get length(): number {
    return this.bytes.length;
  }

  /** How many buffers hold the frame; absent from the header of a legacy driver without MRG_RXBUF. */
  get buffers(): number {
    return this.length > field.num_buffers.offset ? field.num_buffers.get(this.#view) : 1;
  }

  set buffers(count: number) {
    if (this.length > field.num_buffers.offset) field.num_buffers.set(this.#view, 0, count);
  }

  /** The hash of a received frame, and over what it is; for headers that have it. */
  setHash(value: number, report: number): void {
    field.hash_value.set(this.#view, 0, value);
    field.hash_report.set(this.#view, 0, report);
  }

  /** Where the frame's network header begins; −1 when it has none. For headers that have the field. */
  set outerNetwork(offset: number) {
    field.outer_nh_offset.set(this.#view, 0, Math.max(offset, 0));
  }

  get outerNetwork(): number {
    return field.outer_nh_offset.get(this.#view);
  }

  /**
   * Says of how many segments a frame was put together, of so many bytes in all, in place of where its checksum is: for drivers
   * that negotiated RSC_EXT. No acknowledgement was dropped as a duplicate.
   */
  setCoalesced(frameLength: number, segmentSize: number): void {
    const view = this.#view;
    const payload = frameLength - field.hdr_len.get(view);
    const segments = Math.max(1, Math.ceil(payload / segmentSize));
    field.flags.set(view, 0, field.flags.get(view) | RSC_INFO);
    field.csum_start.set(view, 0, Math.min(segments, 0xffff));
    field.csum_offset.set(view, 0, 0);
  }

  /** IPsec was done, or is to be: flags, and the association. For headers that have it. */
  setSecurity(flags: number, resource: number, resourceType: number): void {
    const view = this.#view;
    field.flags.set(view, 0, field.flags.get(view) | flags);
    field.resource_id.set(view, 0, resource);
    field.resource_type.set(view, 0, resourceType);
  }

  /** Bits of `headerFlag`. */
  get flags(): number {
    return field.flags.get(this.#view);
  }

  /** IPsec is to be done, or was. */
  get secured(): boolean {
    return (this.flags & SECURITY) !== 0;
  }

  get resource(): number {
    return field.resource_id.get(this.#view);
  }

  get resourceType(): number {
    return field.resource_type.get(this.#view);
  }

  get hash(): number {
    return field.hash_value.get(this.#view);
  }

  get hashReport(): number {
    return field.hash_report.get(this.#view);
  }

  /**
   * Reads `offload` from the bytes, for a frame of so many bytes. Says what cannot be, as in "a frame …"; `offload` is of
   * no use then.
   *
   * @spec 5.1.9.2.2 device: Device Types / Network Device / Device Operation / Packet Transmission
   * @spec 5.1.9.4.2 driver: Device Types / Network Device / Device Operation / Processing of Incoming Packets
   */
  decode(frameLength: number, rules: HeaderRules): string | undefined {
    const view = this.#view;
    const { allowed } = rules;
    const { offload } = this;
    const flags = field.flags.get(view);
    const type = field.gso_type.get(view);
    const isCoalesced = rules.coalesced && (flags & RSC_INFO) !== 0;
    this.coalesced = isCoalesced;
    offload.needsChecksum = (flags & NEEDS_CSUM) !== 0 && !isCoalesced;
    offload.checksumValid = rules.fromDevice && ((flags & DATA_VALID) !== 0 || isCoalesced);
    offload.checksumStart = 0;
    offload.checksumOffset = 0;
    offload.segmentation = segmentation.NONE;
    offload.segmentSize = 0;
    offload.headerLength = 0;
    offload.ecn = false;
    offload.tunnel = undefined;
    if (offload.needsChecksum) {
      if (!allowed.checksum) return 'asks for a checksum, which was not negotiated';
      offload.checksumStart = field.csum_start.get(view);
      offload.checksumOffset = field.csum_offset.get(view);
      if (offload.checksumStart + offload.checksumOffset + 2 > frameLength) {
        return 'has its checksum behind its end';
      }
    }
    if ((type & ~ECN) === gsoType.NONE) {
      // Beside DATA_VALID it says that both levels were validated.
      const isTold = rules.fromDevice && (flags & NEEDS_CSUM) === 0;
      return (flags & UDP_TUNNEL_CSUM) === 0 || isTold ? undefined : notTunnelled;
    }
    // Where its checksum is stands in the frame alone: `restore` looks there.
    if (isCoalesced) return undefined;
    return this.#decodeSegmentation(type, flags, frameLength, rules);
  }

  /**
   * Finds in a coalesced frame of TCP what is left to do to it: the fields for that tell of its segments. `offload` says that
   * nothing is, where there is none.
   */
  restore(frame: Uint8Array): void {
    const view = this.#view;
    const { offload } = this;
    const headers = this.#headers;
    const kind = field.gso_type.get(view) & ~ECN;
    const version = kind === segmentation.TCP4 ? 4 : kind === segmentation.TCP6 ? 6 : 0;
    const needs = (field.flags.get(view) & NEEDS_CSUM) !== 0;
    const network = networkOffset(frame);
    if (!needs || network < 0 || !headers.read(frame, network) || headers.version !== version) return;
    const payload = headers.payloadAt(frame);
    if (payload < 0 || headers.protocol !== ipProtocol.TCP || field.gso_size.get(view) === 0) return;
    offload.needsChecksum = true;
    offload.checksumValid = false;
    offload.checksumStart = headers.transportAt;
    offload.checksumOffset = tcpChecksum;
    // Compared with these just now.
    offload.segmentation = kind as Segmentation;
    offload.segmentSize = field.gso_size.get(view);
    offload.headerLength = payload;
    offload.ecn = (field.gso_type.get(view) & ECN) !== 0;
  }

  #decodeSegmentation(
    type: number,
    flags: number,
    frameLength: number,
    { allowed, exactLength }: HeaderRules,
  ): string | undefined {
    const { offload } = this;
    const kind = type & ~(ECN | tunnelBits);
    if (!isAllowed(kind, allowed)) return `asks for segmentation of type ${kind}, which was not negotiated`;
    if ((type & ECN) !== 0 && !allowed.ecn) return 'asks for segmentation with ECN, which was not negotiated';
    if (!offload.needsChecksum) return 'asks for segmentation without its checksum';
    const size = field.gso_size.get(this.#view);
    if (size === 0) return 'asks for segments of 0 bytes';
    if (offload.checksumStart < ethernetHeader + leastNetwork) return 'has no room for its network header';
    // Just checked to be one.
    offload.segmentation = kind as Segmentation;
    offload.segmentSize = size;
    offload.ecn = (type & ECN) !== 0;
    const headers = field.hdr_len.get(this.#view);
    if (exactLength && headers >= offload.checksumStart + udpHeader && headers <= frameLength) {
      offload.headerLength = headers;
    }
    if ((type & tunnelBits) !== 0) return this.#decodeTunnel(type, flags, allowed);
    return (flags & UDP_TUNNEL_CSUM) === 0 ? undefined : notTunnelled;
  }

  #decodeTunnel(type: number, flags: number, allowed: TakenOffloads): string | undefined {
    const { offload } = this;
    const tunnel = this.#tunnel;
    if (!allowed.tunnel) return 'is in a UDP tunnel, which was not negotiated';
    if ((type & tunnelBits) === tunnelBits) return 'is in a UDP tunnel of IPv4 and IPv6 at once';
    if ((flags & DATA_VALID) !== 0) return 'is in a UDP tunnel and has its checksum validated';
    if (offload.segmentation === segmentation.UDP_FRAGMENTS) {
      return 'is to be cut into fragments in a UDP tunnel';
    }
    tunnel.outerChecksum = (flags & UDP_TUNNEL_CSUM) !== 0;
    if (tunnel.outerChecksum && !allowed.tunnelChecksum) {
      return 'asks for the outer checksum of a tunnel, which was not negotiated';
    }
    tunnel.ipv6 = (type & UDP_TUNNEL_IPV6) !== 0;
    tunnel.outerTransportOffset = field.outer_th_offset.get(this.#view);
    tunnel.innerNetworkOffset = field.inner_nh_offset.get(this.#view);
    const isOrdered =
      tunnel.outerTransportOffset >= ethernetHeader + leastNetwork &&
      tunnel.innerNetworkOffset >= tunnel.outerTransportOffset + udpHeader &&
      offload.checksumStart >= tunnel.innerNetworkOffset + leastNetwork;
    if (!isOrdered) return 'has the headers of its tunnel in no order that can be';
    offload.tunnel = tunnel;
    return undefined;
  }

  /** Writes into the bytes what is left to do to a frame; `checksumValid` is told to whoever takes checksums. */
  encode(offload: Offload, frame: Uint8Array, tellValid: boolean): void {
    const view = this.#view;
    const { tunnel, needsChecksum } = offload;
    const isSegmented = offload.segmentation !== segmentation.NONE;
    let flags = needsChecksum ? NEEDS_CSUM : 0;
    let type: number = offload.segmentation;
    if (tellValid && offload.checksumValid && !needsChecksum && tunnel === undefined) flags |= DATA_VALID;
    if (isSegmented && offload.ecn) type |= ECN;
    if (isSegmented && tunnel !== undefined) {
      type |= tunnel.ipv6 ? UDP_TUNNEL_IPV6 : UDP_TUNNEL_IPV4;
      if (tunnel.outerChecksum) flags |= UDP_TUNNEL_CSUM;
      field.outer_th_offset.set(view, 0, tunnel.outerTransportOffset);
      field.inner_nh_offset.set(view, 0, tunnel.innerNetworkOffset);
    } else if (this.length > field.outer_th_offset.offset) {
      field.outer_th_offset.set(view, 0, 0);
      field.inner_nh_offset.set(view, 0, 0);
    }
    field.flags.set(view, 0, flags);
    field.gso_type.set(view, 0, type);
    field.hdr_len.set(view, 0, isSegmented ? headersOf(offload, frame) : 0);
    field.gso_size.set(view, 0, isSegmented ? offload.segmentSize : 0);
    field.csum_start.set(view, 0, needsChecksum ? offload.checksumStart : 0);
    field.csum_offset.set(view, 0, needsChecksum ? offload.checksumOffset : 0);
    field.num_buffers.set(view, 0, 0);
  }
}

/** True for a type of segmentation that may be asked for. */
function isAllowed(kind: number, allowed: TakenOffloads): boolean {
  switch (kind) {
    case segmentation.TCP4:
      return allowed.tcp4;
    case segmentation.TCP6:
      return allowed.tcp6;
    case segmentation.UDP_FRAGMENTS:
      return allowed.udpFragments;
    case segmentation.UDP:
      return allowed.udp4 || allowed.udp6;
    default:
      return false;
  }
}

/** Bytes up to the transport's payload: what the sender says, or what the transport header does. */
export function headersOf(
  { headerLength, checksumStart, segmentation: kind }: Offload,
  frame: Uint8Array,
): number {
  if (headerLength > 0) return headerLength;
  const isTcp = kind === segmentation.TCP4 || kind === segmentation.TCP6;
  const words = isTcp ? (frame[checksumStart + 12] ?? 0) >>> 4 : 2;
  return checksumStart + 4 * words;
}
