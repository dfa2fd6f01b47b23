import { type Aml, ascii, le } from './aml.ts';

const headerSize = 36;
const checksumOffset = 9;

/** A secondary system description table (SSDT) of these terms, header and checksum included. */
export function ssdt(tableId: string, terms: readonly Aml[]): Uint8Array {
  const content = terms.flat();
  const bytes = Uint8Array.from([
    ...ascii('SSDT'),
    ...le(headerSize + content.length, 4),
    2, // integers have 64 bits
    0,
    ...ascii('VIRTIO'),
    ...ascii(tableId.padEnd(8).slice(0, 8)),
    ...le(1, 4),
    ...ascii('VTTS'),
    ...le(1, 4),
    ...content,
  ]);
  // All bytes of a table add up to 0.
  bytes[checksumOffset] = -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
  return bytes;
}
