import { internetSum } from '../link/index.ts';

/** The sum of what is not sent but protected by a checksum: both addresses, the protocol, the length. */
export function pseudoSum(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): number {
  const addresses = internetSum(source, 0, source.length) + internetSum(destination, 0, destination.length);
  return addresses + protocol + (length >>> 16) + (length & 0xffff);
}
