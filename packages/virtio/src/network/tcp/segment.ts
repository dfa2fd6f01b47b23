import { get16, put16, put32 } from '../../link/bytes.ts';
import { checksumOffset, flag, Header, type HeaderFields, leastHeader, readI32 } from './header.ts';
import { Options } from './options.ts';

/** A segment that came, as its header tells. One object serves many. */
export class Segment extends Header {
  /** Where its payload begins, among the bytes that were parsed. */
  payloadAt = 0;
  payloadLength = 0;
  readonly options = new Options();

  /** Reads a segment of `length` bytes. False for what is none. */
  parse(bytes: Uint8Array, offset: number, length: number): boolean {
    if (length < leastHeader || offset + length > bytes.length) return false;
    const headerLength = (bytes[offset + 12]! >>> 4) * 4;
    if (headerLength < leastHeader || headerLength > length) return false;
    this.sourcePort = get16(bytes, offset);
    this.destinationPort = get16(bytes, offset + 2);
    this.sequence = readI32(bytes, offset + 4);
    this.acknowledgment = readI32(bytes, offset + 8);
    this.flags = bytes[offset + 13]!;
    this.window = get16(bytes, offset + 14);
    this.payloadAt = offset + headerLength;
    this.payloadLength = length - headerLength;
    this.options.parse(bytes, offset + leastHeader, this.payloadAt);
    return true;
  }

  has(bit: number): boolean {
    return (this.flags & bit) !== 0;
  }

  /** What it takes of the sequence: its payload, and one each for SYN and FIN. */
  get sequenceLength(): number {
    return this.payloadLength + (this.has(flag.SYN) ? 1 : 0) + (this.has(flag.FIN) ? 1 : 0);
  }
}

/**
 * Writes a header in front of options and payload that lie there already.
 *
 * @param headerLength with the options, a multiple of 4
 * @param pseudoHeader the sum that its checksum field holds, for somebody to complete
 */
export function writeHeader(
  bytes: Uint8Array,
  at: number,
  fields: HeaderFields,
  headerLength: number,
  pseudoHeader: number,
): void {
  put16(bytes, at, fields.sourcePort);
  put16(bytes, at + 2, fields.destinationPort);
  put32(bytes, at + 4, fields.sequence);
  put32(bytes, at + 8, fields.acknowledgment);
  bytes[at + 12] = headerLength << 2;
  bytes[at + 13] = fields.flags;
  put16(bytes, at + 14, fields.window);
  put16(bytes, at + checksumOffset, pseudoHeader);
  put16(bytes, at + 18, 0);
}
