import { put16 } from '../link/bytes.ts';
import { internetChecksum } from '../link/index.ts';

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
  const ipv4 = source.length === 4;
  const header = ipv4 ? 20 : 40;
  const bytes = new Uint8Array(header + 8);
  bytes[0] = ipv4 ? 0x45 : 0x60;
  put16(bytes, ipv4 ? 2 : 4, ipv4 ? bytes.length : 8);
  bytes[ipv4 ? 8 : 7] = 64;
  bytes[ipv4 ? 9 : 6] = protocol;
  bytes.set(source, ipv4 ? 12 : 8);
  bytes.set(destination, ipv4 ? 16 : 24);
  if (ipv4) put16(bytes, 10, internetChecksum(bytes, 0, header));
  put16(bytes, header, sourcePort);
  put16(bytes, header + 2, port);
  put16(bytes, header + 4, 8);
  return bytes;
}
