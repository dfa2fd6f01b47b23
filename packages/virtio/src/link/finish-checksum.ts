import { put16 } from './bytes.ts';
import { internetSum } from './checksum.ts';
import type { Offload } from './offload.ts';

/** True when the checksum that is to be completed, and its field, lie within the frame. */
export function checksumLiesWithin(frame: Uint8Array, offload: Offload): boolean {
  return offload.checksumStart + offload.checksumOffset + 2 <= frame.length;
}

/** Completes a checksum in place: over all from `start` to the end, where the sum of the pseudo header is in its field. */
export function completeChecksum(frame: Uint8Array, start: number, offset: number, end = frame.length): void {
  const sum = internetSum(frame, start, end);
  // 0 says to UDP that there is no checksum; to others it is the same as its complement.
  put16(frame, start + offset, ~sum & 0xffff || 0xffff);
}
