import type { Fields, Struct, StructValue } from './layout.ts';

/** The byte order of a guest, which the legacy interface uses where the modern one is little-endian. */
export type Endian = 'little' | 'big';

/** Little-endian fields are big-endian in it; those that are big-endian by declaration stay so. */
class BigEndianView extends DataView<ArrayBufferLike> {
  override getUint16(offset: number): number {
    return super.getUint16(offset);
  }

  override setUint16(offset: number, value: number): void {
    super.setUint16(offset, value);
  }

  override getUint32(offset: number): number {
    return super.getUint32(offset);
  }

  override setUint32(offset: number, value: number): void {
    super.setUint32(offset, value);
  }

  override getBigUint64(offset: number): bigint {
    return super.getBigUint64(offset);
  }

  override setBigUint64(offset: number, value: bigint): void {
    super.setBigUint64(offset, value);
  }
}

/** True for a view in which little-endian fields are big-endian: for codecs that read a field in parts. */
export const isBigEndian = (view: DataView): boolean => view instanceof BigEndianView;

/** How bytes are seen in one byte order. */
export type ViewOf = (bytes: ArrayBufferView) => DataView;

/** A view through which a structure's little-endian fields are read and written in a guest's byte order. */
export function guestView({ buffer, byteOffset, byteLength }: ArrayBufferView, endian: Endian): DataView {
  const View = endian === 'big' ? BigEndianView : DataView;
  return new View(buffer, byteOffset, byteLength);
}

/** The same for bytes that are read and written later; none is needed where they are little-endian. */
export const viewOf = (endian: Endian): ViewOf | undefined =>
  endian === 'big' ? (bytes) => guestView(bytes, endian) : undefined;

/** The structure's bytes as `layout.encode` makes them, in a guest's byte order. */
export function encodeFor<F extends Fields>(
  endian: Endian,
  layout: Struct<F>,
  value: Partial<StructValue<F>>,
): Uint8Array<ArrayBuffer> {
  const encoded = layout.encode(value);
  if (endian === 'big') layout.write(guestView(encoded, endian), 0, value);
  return encoded;
}
