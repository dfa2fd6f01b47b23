/** From so many bytes on a view of 32-bit words is quicker than bytes. */
const worthAView = 96;

/**
 * The ones' complement sum of 16-bit big-endian words, folded to 16 bits (RFC 1071). An odd last byte is the high half of a
 * word. At most 8 MiB, so that no carry is lost.
 *
 * @param initial a sum to go on from: of a pseudo header, or of what lies before at an even distance
 */
export function internetSum(bytes: Uint8Array, from: number, to: number, initial = 0): number {
  let at = from;
  let sum = 0;
  if (to - from >= worthAView) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    // Read in little-endian order, which is this machine's: the sum of swapped words is the swapped sum.
    for (const end = to - 15; at < end; at += 16) {
      a += view.getUint32(at, true);
      b += view.getUint32(at + 4, true);
      c += view.getUint32(at + 8, true);
      d += view.getUint32(at + 12, true);
    }
    const swapped = foldSum(a + b + c + d);
    sum = ((swapped & 0xff) << 8) | (swapped >>> 8);
  }
  for (const end = to - 1; at < end; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  if (at < to) sum += bytes[at]! << 8;
  return foldSum(sum + initial);
}

/** Folds a sum of 16-bit words, below 2^53, to 16 bits; only a sum of 0 becomes 0. */
export function foldSum(sum: number): number {
  let folded = sum;
  if (folded > 0xffff_ffff) folded = (folded >>> 0) + Math.floor(folded / 0x1_0000_0000);
  if (folded > 0xffff_ffff) folded -= 0xffff_ffff;
  folded = (folded & 0xffff) + (folded >>> 16);
  return (folded & 0xffff) + (folded >>> 16);
}

/** The checksum of some bytes as headers of IPv4 and ICMP hold it: the complement of their sum. */
export function internetChecksum(bytes: Uint8Array, from: number, to: number, initial = 0): number {
  return ~internetSum(bytes, from, to, initial) & 0xffff;
}

/**
 * The sum of a pseudo header, of IPv4 or IPv6, to begin a sum of TCP, UDP or ICMPv6 with.
 *
 * @param addressesAt where the source address lies in `bytes`; the destination's follows it
 * @param addressLength bytes of one address: 4 or 16
 * @param length bytes of transport header and data
 */
export function pseudoHeaderSum(
  bytes: Uint8Array,
  addressesAt: number,
  addressLength: number,
  protocol: number,
  length: number,
): number {
  const upper = protocol + (length >>> 16) + (length & 0xffff);
  return internetSum(bytes, addressesAt, addressesAt + 2 * addressLength, upper);
}

/**
 * A transport's checksum, over `bytes` from `from` to `to`, its own field being 0.
 *
 * @param pseudoHeader what {@link pseudoHeaderSum} says
 * @returns never 0, which means to UDP that there is none; 0xffff is the same sum
 */
export function transportChecksum(bytes: Uint8Array, from: number, to: number, pseudoHeader: number): number {
  return internetChecksum(bytes, from, to, pseudoHeader) || 0xffff;
}

/** A checksum after a 16-bit word at an even distance became another one (RFC 1624). */
export function updatedChecksum(checksum: number, old: number, now: number): number {
  return ~foldSum((~checksum & 0xffff) + (~old & 0xffff) + now) & 0xffff;
}
