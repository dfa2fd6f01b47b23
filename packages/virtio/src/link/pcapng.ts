import { encodeUtf8 } from '../spec/utf8.ts';

// Blocks of a capture file, as draft-ietf-opsawg-pcapng has them, in little-endian order. Nothing here knows of a file.

const blockTypes = Object.freeze({ SECTION: 0x0a0d0d0a, INTERFACE: 1, ENHANCED_PACKET: 6 });
const options = Object.freeze({
  END: 0,
  COMMENT: 1,
  SECTION_APPLICATION: 4,
  INTERFACE_NAME: 2,
  INTERFACE_DESCRIPTION: 3,
  INTERFACE_RESOLUTION: 9,
  PACKET_FLAGS: 2,
});

const byteOrderMagic = 0x1a2b3c4d;
const ethernet = 1;

/** Bits of a packet's flags. */
export const packetFlags = Object.freeze({
  INBOUND: 1,
  OUTBOUND: 2,
  CHECKSUM_NOT_READY: 1 << 9,
  CHECKSUM_VALID: 1 << 10,
  SEGMENTATION_OFFLOADED: 1 << 11,
});

interface Option {
  readonly code: number;
  readonly value: Uint8Array;
}

/** The block that a capture begins with. */
export function sectionBlock({ application }: { readonly application?: string } = {}): Uint8Array {
  const list = application === undefined ? [] : [text(options.SECTION_APPLICATION, application)];
  const { bytes, view } = block(blockTypes.SECTION, 16, list);
  view.setUint32(8, byteOrderMagic, true);
  view.setUint16(12, 1, true);
  // Nobody knows yet how long the section will be.
  view.setBigInt64(16, -1n, true);
  return bytes;
}

/**
 * An Ethernet interface, to come before its first packet. Interfaces are numbered from 0 in the order of their blocks. Its times
 * are in nanoseconds.
 *
 * @param name.snapLength bytes of a frame that are kept at most; 0 for all
 */
export function interfaceBlock(name: {
  readonly name: string;
  readonly description?: string | undefined;
  readonly snapLength?: number;
}): Uint8Array {
  const list = [text(options.INTERFACE_NAME, name.name)];
  if (name.description !== undefined) list.push(text(options.INTERFACE_DESCRIPTION, name.description));
  list.push({ code: options.INTERFACE_RESOLUTION, value: Uint8Array.of(9) });
  const { bytes, view } = block(blockTypes.INTERFACE, 8, list);
  view.setUint16(8, ethernet, true);
  view.setUint32(12, name.snapLength ?? 0, true);
  return bytes;
}

/**
 * A frame.
 *
 * @param packet.time nanoseconds since 1970
 * @param packet.flags of {@link packetFlags}
 * @param packet.length bytes that are kept of it; all unless told
 */
export function packetBlock(packet: {
  readonly interface: number;
  readonly time: bigint;
  readonly frame: Uint8Array;
  readonly length?: number;
  readonly flags?: number;
  readonly comment?: string | undefined;
}): Uint8Array {
  const { frame, time } = packet;
  const length = Math.min(packet.length ?? frame.length, frame.length);
  const list: Option[] = [];
  if (packet.comment !== undefined) list.push(text(options.COMMENT, packet.comment));
  if (packet.flags !== undefined) {
    const value = new Uint8Array(4);
    new DataView(value.buffer).setUint32(0, packet.flags, true);
    list.push({ code: options.PACKET_FLAGS, value });
  }
  const { bytes, view } = block(blockTypes.ENHANCED_PACKET, 20 + padded(length), list);
  view.setUint32(8, packet.interface, true);
  view.setUint32(12, Number(BigInt.asUintN(32, time >> 32n)), true);
  view.setUint32(16, Number(BigInt.asUintN(32, time)), true);
  view.setUint32(20, length, true);
  view.setUint32(24, frame.length, true);
  bytes.set(length === frame.length ? frame : frame.subarray(0, length), 28);
  return bytes;
}

function text(code: number, value: string): Option {
  // A length has 16 bits; what is longer says as much in fewer.
  return { code, value: encodeUtf8(value).subarray(0, 0xfff0) };
}

/** A block with room for its body, options behind that, and its length at both ends. */
function block(
  type: number,
  body: number,
  list: readonly Option[],
): { readonly bytes: Uint8Array; readonly view: DataView } {
  let length = 12 + body;
  for (const { value } of list) length += 4 + padded(value.length);
  if (list.length > 0) length += 4;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  view.setUint32(length - 4, length, true);
  let at = 8 + body;
  for (const { code, value } of list) {
    view.setUint16(at, code, true);
    view.setUint16(at + 2, value.length, true);
    bytes.set(value, at + 4);
    at += 4 + padded(value.length);
  }
  return { bytes, view };
}

function padded(length: number): number {
  return (length + 3) & ~3;
}
