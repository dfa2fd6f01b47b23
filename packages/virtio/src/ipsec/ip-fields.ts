import { get16, put16 } from '../link/bytes.ts';
import type { PacketHeaders } from '../link/headers.ts';
import { setHeaderChecksum } from '../link/ip-header.ts';
import { ipv6Header } from '../link/numbers.ts';

/** Explicit congestion notification: the lower two bits of what was the type of service. */
export const congestion = Object.freeze({ NONE: 0, CAPABLE_1: 1, CAPABLE_0: 2, EXPERIENCED: 3 });

/** The length that a packet says it has, its header with it; −1 when the frame is shorter, or it says that it has none. */
export function packetLength(frame: Uint8Array, { version, networkAt, transportAt }: PacketHeaders): number {
  const length = version === 4 ? get16(frame, networkAt + 2) : ipv6Header + get16(frame, networkAt + 4);
  return length < transportAt - networkAt || networkAt + length > frame.length ? -1 : length;
}

/** The octet of DSCP and congestion. */
export const trafficClass = (frame: Uint8Array, at: number, version: 4 | 6): number =>
  version === 4 ? frame[at + 1]! : (get16(frame, at) >>> 4) & 0xff;

export function setTrafficClass(frame: Uint8Array, at: number, version: 4 | 6, value: number): void {
  if (version === 4) {
    frame[at + 1] = value;
    setHeaderChecksum(frame, at);
  } else put16(frame, at, (get16(frame, at) & 0xf00f) | (value << 4));
}

/** Takes a hop from a packet; false when it had but one. */
export function decrementHops(frame: Uint8Array, at: number, version: 4 | 6): boolean {
  const where = at + (version === 4 ? 8 : 7);
  if (frame[where]! <= 1) return false;
  frame[where] = frame[where]! - 1;
  if (version === 4) setHeaderChecksum(frame, at);
  return true;
}
