/** Bytes of numbers in little-endian order, as commands hold them. */
export const le16 = (...values: readonly number[]): number[] =>
  values.flatMap((value) => [value & 0xff, (value >>> 8) & 0xff]);
export const le32 = (...values: readonly number[]): number[] =>
  values.flatMap((value) => [...le16(value & 0xffff), ...le16(value >>> 16)]);
