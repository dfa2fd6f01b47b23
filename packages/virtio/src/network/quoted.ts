import { put16 } from '../link/bytes.ts';
import { writeIpHeader } from '../link/ip-header.ts';
import { ipv4Header, ipv6Header } from '../link/numbers.ts';

/**
 * The headers of a packet that a guest sent, as far as it knows one of its own by them: for ICMP, long after the packet is
 * gone.
 */
export function quotedHeaders(
  protocol: number,
  source: Uint8Array,
  sourcePort: number,
  destination: Uint8Array,
  port: number,
): Uint8Array {
  const header = source.length === 4 ? ipv4Header : ipv6Header;
  const bytes = new Uint8Array(header + 8);
  const fixed = { hops: 64, payload: 8, identification: 0, fragment: 0 };
  writeIpHeader(bytes, 0, { source, destination, protocol, ...fixed });
  put16(bytes, header, sourcePort);
  put16(bytes, header + 2, port);
  put16(bytes, header + 4, 8);
  return bytes;
}
