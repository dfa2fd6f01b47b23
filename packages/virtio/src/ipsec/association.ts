import type { LifetimeLimits } from './lifetime.ts';
import type { EspLengths, EspTransform } from './transform.ts';

/** The outer header that a tunnel puts around packets. */
export interface TunnelHeader {
  readonly version: 4 | 6;
  /** In network order; 4 or 16 bytes. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** 6 bits, where it is not copied from the packet. */
  readonly dscp: number;
  /** IPv4: whether it may not be cut, where that is not copied from the packet. */
  readonly dontFragment: boolean;
  /** Time to live, or hop limit: 1 to 255. */
  readonly hops: number;
  /** IPv6: 20 bits. */
  readonly flowLabel: number;
}

/** A security association of ESP (RFC 4303), in one direction. */
export interface EspAssociation {
  /** Anything but 0. */
  readonly spi: number;
  readonly mode: 'tunnel' | 'transport';
  readonly transform: EspTransform;
  /** Sequence numbers of 64 bits. */
  readonly extended: boolean;
  /** The ports of ESP in UDP (RFC 3948). Packets that come are told by their destination alone: others translate the source. */
  readonly udp: { readonly source: number; readonly destination: number } | undefined;
  /** Of a tunnel that packets are sent into. */
  readonly tunnel: TunnelHeader | undefined;
  /** The outer header of a tunnel has the packet's DSCP. */
  readonly copyDscp: boolean;
  /** A packet that is sent into a tunnel has gone through one router more. */
  readonly decrementHops: boolean;
  /** The outer header has the packet's bit against fragments. */
  readonly copyDontFragment: boolean;
  /** Congestion is told through a tunnel, in both directions (RFC 6040). */
  readonly ecn: boolean;
  /** Sequence numbers that may come in any order; 0 refuses none. */
  readonly replayWindow: number;
  readonly lifetime: LifetimeLimits;
}

/** What the length of a packet depends on. */
export interface EspShape {
  readonly mode: 'tunnel' | 'transport';
  readonly lengths: EspLengths;
  readonly udp: boolean;
  /** The IP version of the outer header of a tunnel. */
  readonly outerVersion: 4 | 6;
}

/** Bytes behind the text of a packet: how much padding there is, and which protocol it holds. */
export const espTrailerLength = 2;

export const udpHeaderLength = 8;

/** Bytes that a packet gains, when so many of it are encrypted. */
export function espOverhead({ mode, lengths, udp, outerVersion }: EspShape, payload: number): number {
  const { ivLength, icvLength } = lengths;
  const header = mode === 'tunnel' ? (outerVersion === 4 ? 20 : 40) : 0;
  const fixed = header + (udp ? udpHeaderLength : 0) + 8 + ivLength + espTrailerLength + icvLength;
  return fixed + padding(payload, lengths);
}

/** Bytes of padding. */
export function padding(payload: number, { alignment }: EspLengths): number {
  const past = (payload + espTrailerLength) % alignment;
  return past === 0 ? 0 : alignment - past;
}
