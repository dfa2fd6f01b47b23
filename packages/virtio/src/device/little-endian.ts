/** `width` bytes as an unsigned number, 1 to 4 of them; what lies outside reads as 0. */
export function readLittle(bytes: Uint8Array, offset: number, width: number): number {
  let value = 0;
  for (let i = 0; i < width; i++) value += (bytes[offset + i] ?? 0) * 2 ** (8 * i);
  return value;
}

/** Writes the low `width` bytes of a number, 1 to 4 of them; what would lie outside is dropped. */
export function writeLittle(bytes: Uint8Array, offset: number, width: number, value: number): void {
  for (let i = 0; i < width; i++) bytes[offset + i] = value >>> (8 * i);
}
