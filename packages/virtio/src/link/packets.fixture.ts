import { get16, get32, put16, put32 } from './bytes.ts';
import { internetChecksum, internetSum, pseudoHeaderSum, transportChecksum } from './checksum.ts';
import { networkOffset, PacketHeaders } from './headers.ts';
import { finished, type Offload, segmentation } from './offload.ts';

/** What a test frame is made of. */
export interface PacketOptions {
  readonly version: 4 | 6;
  readonly protocol: 'tcp' | 'udp';
  readonly payload: Uint8Array;
  /** Tags of VLANs. */
  readonly tags?: number;
  /** Bytes of options in IPv4's header, or extension headers of IPv6. */
  readonly ipOptions?: number;
  /** Words of options in TCP's header. */
  readonly tcpOptions?: number;
  readonly flags?: number;
  readonly sequence?: number;
  readonly id?: number;
}

const macs = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

/** Where what lies in a frame of {@link packet}. */
export interface Packet {
  readonly frame: Uint8Array;
  readonly networkAt: number;
  readonly transportAt: number;
  readonly payloadAt: number;
}

/** A frame whose transport's checksum is not complete: in its field is the sum of the pseudo header. */
export function packet(options: PacketOptions): Packet {
  const { version, protocol, payload, tags = 0, ipOptions = 0, tcpOptions = 0 } = options;
  const networkAt = 14 + 4 * tags;
  const ipLength = version === 4 ? 20 + 4 * ipOptions : 40 + 8 * ipOptions;
  const transportAt = networkAt + ipLength;
  const payloadAt = transportAt + (protocol === 'tcp' ? 20 + 4 * tcpOptions : 8);
  const frame = new Uint8Array(payloadAt + payload.length);
  frame.set(macs);
  for (let i = 0; i < tags; i++) {
    put16(frame, 12 + 4 * i, i === 0 && tags > 1 ? 0x88a8 : 0x8100);
    put16(frame, 14 + 4 * i, 5);
  }
  put16(frame, networkAt - 2, version === 4 ? 0x0800 : 0x86dd);
  const number = protocol === 'tcp' ? 6 : 17;
  const transportLength = frame.length - transportAt;
  if (version === 4) {
    frame[networkAt] = 0x40 | (ipLength / 4);
    put16(frame, networkAt + 2, (frame.length - networkAt) & 0xffff);
    put16(frame, networkAt + 4, options.id ?? 0x1234);
    put16(frame, networkAt + 6, 0x4000);
    frame[networkAt + 8] = 64;
    frame[networkAt + 9] = number;
    frame.set([10, 0, 2, 15, 10, 0, 2, 2], networkAt + 12);
    frame.fill(1, networkAt + 20, transportAt);
    put16(frame, networkAt + 10, internetChecksum(frame, networkAt, transportAt));
  } else {
    frame[networkAt] = 0x60;
    put16(frame, networkAt + 4, (frame.length - networkAt - 40) & 0xffff);
    frame[networkAt + 7] = 64;
    for (let i = 0; i < 32; i++) frame[networkAt + 8 + i] = 0x20 + i;
    let announces = networkAt + 6;
    for (let i = 0; i < ipOptions; i++) {
      // Hop-by-hop options first, then those for the destination; PadN fills them.
      frame[announces] = i === 0 ? 0 : 60;
      announces = networkAt + 40 + 8 * i;
      frame.set([0, 0, 1, 4, 0, 0, 0, 0], announces);
    }
    frame[announces] = number;
  }
  put16(frame, transportAt, 4000);
  put16(frame, transportAt + 2, 53);
  const addressesAt = networkAt + (version === 4 ? 12 : 8);
  const pseudo = pseudoHeaderSum(frame, addressesAt, version === 4 ? 4 : 16, number, transportLength);
  if (protocol === 'tcp') {
    put32(frame, transportAt + 4, options.sequence ?? 0xffff_fff0);
    put32(frame, transportAt + 8, 77);
    frame[transportAt + 12] = (5 + tcpOptions) << 4;
    frame[transportAt + 13] = options.flags ?? 0x99;
    put16(frame, transportAt + 14, 501);
    frame.fill(1, transportAt + 20, payloadAt);
    put16(frame, transportAt + 16, pseudo);
  } else {
    put16(frame, transportAt + 4, transportLength & 0xffff);
    put16(frame, transportAt + 6, pseudo);
  }
  frame.set(payload, payloadAt);
  return { frame, networkAt, transportAt, payloadAt };
}

/** The offload that says what is left to do to a frame of {@link packet}. */
export function offloadOf(options: PacketOptions, { transportAt, payloadAt }: Packet, size = 0): Offload {
  const { version, protocol } = options;
  const tcp = protocol === 'tcp';
  const cut = tcp ? (version === 4 ? segmentation.TCP4 : segmentation.TCP6) : segmentation.UDP;
  return {
    ...finished,
    needsChecksum: true,
    checksumStart: transportAt,
    checksumOffset: tcp ? 16 : 6,
    segmentation: size === 0 ? segmentation.NONE : cut,
    segmentSize: size,
    headerLength: size === 0 ? 0 : payloadAt,
  };
}

/** A frame in a UDP tunnel: what {@link packet} makes within an outer packet, behind eight bytes of a tunnel's header. */
export function inTunnel(
  outer: 4 | 6,
  inner: Packet,
): { frame: Uint8Array; outerTransportOffset: number; innerNetworkOffset: number; shift: number } {
  const tunnelHeader = Uint8Array.of(8, 0, 0, 0, 0, 0, 42, 0);
  const payload = new Uint8Array(8 + inner.frame.length);
  payload.set(tunnelHeader);
  payload.set(inner.frame, 8);
  const around = packet({ version: outer, protocol: 'udp', payload, id: 9 });
  put16(around.frame, around.transportAt + 2, 4789);
  const shift = around.payloadAt + 8;
  return {
    frame: around.frame,
    outerTransportOffset: around.transportAt,
    innerNetworkOffset: shift + inner.networkAt,
    shift,
  };
}

/** What is wrong with the lengths and checksums of a finished packet that carries TCP or UDP; empty when all is right. */
export function faultsOf(frame: Uint8Array, networkAt = networkOffset(frame)): string[] {
  const faults: string[] = [];
  const headers = new PacketHeaders();
  if (!headers.read(frame, networkAt)) return ['no IP'];
  const { version, transportAt, protocol, addressesAt, addressLength } = headers;
  if (version === 4) {
    if (internetSum(frame, networkAt, transportAt) !== 0xffff) faults.push('checksum of IPv4');
    if (get16(frame, networkAt + 2) !== frame.length - networkAt) faults.push('length of IPv4');
  } else if (get16(frame, networkAt + 4) !== frame.length - networkAt - 40) faults.push('length of IPv6');
  if (headers.fragment) return faults;
  const length = frame.length - transportAt;
  const pseudo = pseudoHeaderSum(frame, addressesAt, addressLength, protocol, length);
  if (protocol === 17) {
    if (get16(frame, transportAt + 4) !== length) faults.push('length of UDP');
    if (get16(frame, transportAt + 6) === 0) return faults;
  }
  if (internetSum(frame, transportAt, frame.length, pseudo) !== 0xffff) faults.push('checksum of transport');
  return faults;
}

/** Puts the datagram together whose fragments these are, as a host does; its frame has no fragment header. */
export function reassembled(fragments: readonly Uint8Array[]): Uint8Array {
  const headers = new PacketHeaders();
  const pieces: { readonly offset: number; readonly bytes: Uint8Array }[] = [];
  let start = new Uint8Array(0);
  let id: number | undefined;
  let end = -1;
  for (const fragment of fragments) {
    headers.read(fragment, networkOffset(fragment));
    const { networkAt, version } = headers;
    let offset: number;
    let more: boolean;
    let its: number;
    let payloadAt: number;
    if (version === 4) {
      offset = (get16(fragment, networkAt + 6) & 0x1fff) * 8;
      more = (get16(fragment, networkAt + 6) & 0x2000) !== 0;
      its = get16(fragment, networkAt + 4);
      payloadAt = headers.transportAt;
    } else {
      const at = headers.fragmentHeaderAt;
      offset = get16(fragment, at + 2) & 0xfff8;
      more = (fragment[at + 3]! & 1) !== 0;
      its = get32(fragment, at + 4);
      payloadAt = at + 8;
    }
    if (id !== undefined && id !== its) throw new Error('two datagrams');
    id = its;
    if (offset === 0) {
      start = fragment.slice(0, version === 4 ? payloadAt : payloadAt - 8);
      if (version === 6) start[headers.nextHeaderAt] = fragment[headers.fragmentHeaderAt]!;
    }
    const bytes = fragment.slice(payloadAt);
    if (more && bytes.length % 8 !== 0) throw new Error('an odd fragment');
    if (!more) end = offset + bytes.length;
    pieces.push({ offset, bytes });
  }
  const frame = new Uint8Array(start.length + end);
  frame.set(start);
  let covered = 0;
  for (const { offset, bytes } of pieces) {
    frame.set(bytes, start.length + offset);
    covered += bytes.length;
  }
  if (covered !== end) throw new Error(`${covered} bytes of ${end}`);
  headers.read(frame, networkOffset(frame));
  const { networkAt } = headers;
  if (headers.version === 4) {
    put16(frame, networkAt + 2, frame.length - networkAt);
    put16(frame, networkAt + 6, 0);
    put16(frame, networkAt + 10, 0);
    put16(frame, networkAt + 10, internetChecksum(frame, networkAt, headers.transportAt));
  } else {
    put16(frame, networkAt + 4, frame.length - networkAt - 40);
  }
  return frame;
}

/** The frame with its checksum, as one who needs no segmentation would send it. */
export function completed(
  { frame, networkAt, transportAt }: Packet,
  version: 4 | 6,
  protocol: 'tcp' | 'udp',
): Uint8Array {
  const copy = frame.slice();
  const at = transportAt + (protocol === 'tcp' ? 16 : 6);
  put16(copy, at, 0);
  const number = protocol === 'tcp' ? 6 : 17;
  const addressesAt = networkAt + (version === 4 ? 12 : 8);
  const pseudo = pseudoHeaderSum(
    copy,
    addressesAt,
    version === 4 ? 4 : 16,
    number,
    copy.length - transportAt,
  );
  put16(copy, at, transportChecksum(copy, transportAt, copy.length, pseudo));
  return copy;
}
