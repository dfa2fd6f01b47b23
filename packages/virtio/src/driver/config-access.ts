import { dataView } from '../spec/data-view.ts';
/** The widths of an access to a register, in bytes. */
export type AccessWidth = 1 | 2 | 4;

/** The width of the accesses to a field: 64 bits go as two halves; what is no integer goes byte by byte. */
function fieldWidth(length: number): AccessWidth {
  if (length === 4 || length === 8) return 4;
  return length === 2 ? 2 : 1;
}

/** Reads one field of the configuration in accesses of its width; `read` gets the offset within the field. */
export async function readField(
  length: number,
  read: (at: number, width: AccessWidth) => Promise<number>,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  const width = fieldWidth(length);
  for (let at = 0; at < length; at += width) {
    const value = await read(at, width);
    if (width === 1) view.setUint8(at, value);
    else if (width === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
  }
  return bytes;
}

/** Writes one field of the configuration in accesses of its width. */
export async function writeField(
  bytes: Uint8Array,
  write: (at: number, width: AccessWidth, value: number) => Promise<void>,
): Promise<void> {
  const view = dataView(bytes);
  const width = fieldWidth(bytes.length);
  for (let at = 0; at < bytes.length; at += width) {
    const value =
      width === 1 ? view.getUint8(at) : width === 2 ? view.getUint16(at, true) : view.getUint32(at, true);
    await write(at, width, value);
  }
}
