import { get16, get32, put16, put32 } from './bytes.ts';
import { pseudoHeaderSum, transportChecksum } from './checksum.ts';
import { networkOffset, PacketHeaders } from './headers.ts';
import { setPacketLength } from './ip-header.ts';
import { ipProtocol } from './numbers.ts';
import { type Offload, segmentation } from './offload.ts';

/** Segments that one frame may become: as many as 64 KiB by eight bytes. Who asks for more wants to do harm. */
const mostSegments = 8192;

const tcpFlags = Object.freeze({ FIN: 0x01, PSH: 0x08, CWR: 0x80 });

/** Bytes of IPv6's fragment header. */
const fragmentHeaderLength = 8;

/**
 * What is to be cut into segments, and how, found in the frame itself: an offload's header length is a hint that may lie.
 * One object serves many frames.
 */
export class SegmentPlan {
  readonly headers = new PacketHeaders();
  readonly outer = new PacketHeaders();
  tunnel = false;
  /** Bytes that every segment begins with. */
  headerLength = 0;
  /** Bytes of payload in all segments but the last. */
  size = 0;
  count = 0;
  fragments = false;

  /** False when the offload and the frame do not fit each other: then it is to be dropped. */
  read(frame: Uint8Array, offload: Offload): boolean {
    const { headers } = this;
    const { tunnel } = offload;
    const networkAt = networkOffset(frame);
    if (networkAt < 0 || !offload.needsChecksum) return false;
    this.tunnel = tunnel !== undefined;
    if (tunnel !== undefined) {
      if (!this.outer.read(frame, networkAt) || this.outer.protocol !== ipProtocol.UDP) return false;
      if (this.outer.fragment || this.outer.transportAt !== tunnel.outerTransportOffset) return false;
      if (tunnel.innerNetworkOffset < this.outer.transportAt + 8) return false;
      if (!headers.read(frame, tunnel.innerNetworkOffset)) return false;
    } else if (!headers.read(frame, networkAt)) {
      return false;
    }
    const payloadAt = headers.payloadAt(frame);
    if (payloadAt < 0 || !this.#fits(offload)) return false;
    if (offload.checksumStart !== headers.transportAt) return false;
    if (offload.checksumOffset !== (headers.protocol === ipProtocol.TCP ? 16 : 6)) return false;

    this.fragments = offload.segmentation === segmentation.UDP_FRAGMENTS;
    if (this.fragments) {
      // Fragments' lengths are whole numbers of eight bytes; what they carry begins at the fragment header's place.
      this.size = offload.segmentSize & ~7;
      this.headerLength = headers.version === 4 ? headers.transportAt : headers.fragmentHeaderAt;
    } else {
      this.size = offload.segmentSize;
      this.headerLength = payloadAt;
    }
    const payload = frame.length - this.headerLength;
    if (this.size === 0) return false;
    this.count = Math.max(1, Math.ceil(payload / this.size));
    const first = this.tunnel ? this.outer : headers;
    // IPv6 does not count its own header.
    const limit = networkAt + 0xffff + (first.version === 6 ? 40 : 0);
    const extra = this.fragments && headers.version === 6 && this.count > 1 ? fragmentHeaderLength : 0;
    const longest = this.headerLength + extra + Math.min(this.size, payload);
    return this.count <= mostSegments && longest <= limit;
  }

  /** True when version and protocol are those that the offload names. */
  #fits(offload: Offload): boolean {
    const { version, protocol } = this.headers;
    switch (offload.segmentation) {
      case segmentation.TCP4:
        return version === 4 && protocol === ipProtocol.TCP;
      case segmentation.TCP6:
        return version === 6 && protocol === ipProtocol.TCP;
      case segmentation.UDP:
        return protocol === ipProtocol.UDP;
      case segmentation.UDP_FRAGMENTS:
        return protocol === ipProtocol.UDP && !this.tunnel;
      default:
        return false;
    }
  }
}

/**
 * Cuts one frame after the other into segments, as an adapter with segmentation offload does: a wire could carry each. Between
 * two segments one may stop and go on later.
 */
export class Segments {
  readonly #plan: SegmentPlan;
  #frame: Uint8Array = new Uint8Array(0);
  /** The frame, where it is kept for later. */
  #kept = new Uint8Array(0);
  #segment = new Uint8Array(0);
  #view = new Uint8Array(0);
  #pending = false;
  #index = 0;
  #made = false;
  #pseudoHeader = 0;
  /** Of a datagram that is cut into fragments: its checksum, and where it goes. */
  #checksum = 0;
  #checksumAt = 0;
  #outerChecksum = false;
  #fragmentId = Math.floor(Math.random() * 0x1_0000_0000);

  /** @param plan what is said of a frame before it is cut; the caller reads the frame into it */
  constructor(plan: SegmentPlan) {
    this.#plan = plan;
  }

  /** Begins with a frame that is in the plan; it is lent until the last segment is made, or `keep`. */
  begin(frame: Uint8Array, offload: Offload): void {
    this.#frame = frame;
    this.#pending = true;
    this.#index = 0;
    this.#made = false;
    this.#outerChecksum = offload.tunnel?.outerChecksum ?? false;
    this.#checksumAt = offload.checksumStart + offload.checksumOffset;
    const { headers, fragments } = this.#plan;
    const { transportAt, addressesAt, addressLength, protocol } = headers;
    const total = frame.length - transportAt;
    // A routed packet's last address is hard to find, but in its checksum's field there is the sum, with the whole length.
    const partial = get16(frame, this.#checksumAt);
    if (fragments) {
      this.#fragmentId = (this.#fragmentId + 1) >>> 0;
      const rest = headers.routed
        ? 0
        : pseudoHeaderSum(frame, addressesAt, addressLength, protocol, total) + (~partial & 0xffff);
      this.#checksum = transportChecksum(frame, transportAt, frame.length, rest);
    } else if (headers.routed) {
      this.#pseudoHeader = partial + (~total & 0xffff) + (~(total >>> 16) & 0xffff);
    } else {
      this.#pseudoHeader = pseudoHeaderSum(frame, addressesAt, addressLength, protocol, 0);
    }
  }

  /** False when no segment is left. */
  get pending(): boolean {
    return this.#pending;
  }

  /** True before the first segment was taken. */
  get untouched(): boolean {
    return this.#pending && this.#index === 0;
  }

  /** The segment that is next; the same until `advance`. Lent until then. */
  next(): Uint8Array {
    if (!this.#made) {
      if (this.#plan.fragments) this.#makeFragment();
      else this.#makeSegment();
      this.#made = true;
    }
    return this.#view;
  }

  /** The segment was taken. */
  advance(): void {
    this.#made = false;
    this.#index++;
    if (this.#index >= this.#plan.count) this.forget();
  }

  /** Keeps a copy of what is left, as the frame was lent. */
  keep(): void {
    if (this.#frame.buffer === this.#kept.buffer) return;
    if (this.#kept.length < this.#frame.length) this.#kept = new Uint8Array(this.#frame.length);
    this.#kept.set(this.#frame);
    this.#frame = this.#kept.subarray(0, this.#frame.length);
  }

  /** Lets go of what is left. */
  forget(): void {
    this.#pending = false;
    this.#frame = this.#kept.subarray(0, 0);
  }

  /** Room for a segment of a length, as a view that is made anew only when the length is another one. */
  #room(length: number): Uint8Array {
    if (this.#segment.length < length) {
      this.#segment = new Uint8Array(length);
      this.#view = this.#segment;
    }
    if (this.#view.length !== length) this.#view = this.#segment.subarray(0, length);
    return this.#view;
  }

  #makeSegment(): void {
    const frame = this.#frame;
    const { headers, outer, tunnel, headerLength, size, count } = this.#plan;
    const index = this.#index;
    const from = headerLength + index * size;
    const to = Math.min(from + size, frame.length);
    const length = headerLength + to - from;
    const segment = this.#room(length);
    copy(segment, 0, frame, 0, headerLength);
    segment.set(frame.subarray(from, to), headerLength);

    const { transportAt } = headers;
    adjustNetwork(segment, headers, length, index);
    let checksumAt = transportAt + 6;
    if (headers.protocol === ipProtocol.TCP) {
      checksumAt = transportAt + 16;
      put32(segment, transportAt + 4, (get32(segment, transportAt + 4) + index * size) >>> 0);
      let flags = segment[transportAt + 13]!;
      if (index > 0) flags &= ~tcpFlags.CWR;
      if (index < count - 1) flags &= ~(tcpFlags.FIN | tcpFlags.PSH);
      segment[transportAt + 13] = flags;
    } else {
      put16(segment, transportAt + 4, length - transportAt);
    }
    put16(segment, checksumAt, 0);
    const pseudo = this.#pseudoHeader + (length - transportAt);
    put16(segment, checksumAt, transportChecksum(segment, transportAt, length, pseudo));
    if (!tunnel) return;

    adjustNetwork(segment, outer, length, index);
    const outerChecksumAt = outer.transportAt + 6;
    put16(segment, outer.transportAt + 4, length - outer.transportAt);
    // One that the sender completed ahead, for segments of one length, is found to be the same.
    if (!this.#outerChecksum && get16(segment, outerChecksumAt) === 0) return;
    put16(segment, outerChecksumAt, 0);
    const outerLength = length - outer.transportAt;
    const outerPseudo = pseudoHeaderSum(
      segment,
      outer.addressesAt,
      outer.addressLength,
      ipProtocol.UDP,
      outerLength,
    );
    put16(segment, outerChecksumAt, transportChecksum(segment, outer.transportAt, length, outerPseudo));
  }

  #makeFragment(): void {
    const frame = this.#frame;
    const { headers, headerLength, size, count } = this.#plan;
    const index = this.#index;
    const offset = index * size;
    const from = headerLength + offset;
    const to = Math.min(from + size, frame.length);
    const more = index < count - 1;
    const whole = count === 1;
    const extra = headers.version === 6 && !whole ? fragmentHeaderLength : 0;
    const payloadAt = headerLength + extra;
    const length = payloadAt + to - from;
    const segment = this.#room(length);
    copy(segment, 0, frame, 0, headerLength);
    segment.set(frame.subarray(from, to), payloadAt);
    const checksumAt = this.#checksumAt;
    if (checksumAt >= from && checksumAt < to) put16(segment, checksumAt - from + payloadAt, this.#checksum);
    if (headers.version === 4) {
      if (!whole) put16(segment, headers.networkAt + 6, (more ? 0x2000 : 0) | (offset >>> 3));
    } else if (!whole) {
      segment[headerLength] = segment[headers.nextHeaderAt]!;
      segment[headerLength + 1] = 0;
      put16(segment, headerLength + 2, offset | (more ? 1 : 0));
      put32(segment, headerLength + 4, this.#fragmentId);
      segment[headers.nextHeaderAt] = ipProtocol.FRAGMENT;
    }
    adjustNetwork(segment, headers, length, 0);
  }
}

/** Writes the length of a packet into its network header, and for IPv4 what identifies it, and its checksum. */
function adjustNetwork(segment: Uint8Array, headers: PacketHeaders, end: number, index: number): void {
  const { networkAt: at, version } = headers;
  if (version === 4) put16(segment, at + 4, (get16(segment, at + 4) + index) & 0xffff);
  setPacketLength(segment, at, version, end - at);
}

/** Copies some bytes; headers are too short for `set` and its view to be worth it. */
function copy(to: Uint8Array, at: number, from: Uint8Array, start: number, length: number): void {
  for (let i = 0; i < length; i++) to[at + i] = from[start + i]!;
}
