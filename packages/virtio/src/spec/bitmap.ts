/** Bytes of the largest bitmap that 16-bit numbers need. */
export const largestBitmap: number = 0x1_0000 / 8;

/** The numbers as a bitmap of 64-bit little-endian values, as short as it can be. */
export function encodeBitmap(numbers: Iterable<number>): Uint8Array<ArrayBuffer> {
  const all = [...numbers];
  const bitmap = new Uint8Array(Math.ceil((Math.max(-1, ...all) + 1) / 64) * 8);
  for (const number of all) bitmap[number >>> 3] = (bitmap[number >>> 3] ?? 0) | (1 << (number & 7));
  return bitmap;
}

/** The numbers of a bitmap, in rising order. Zeroes at its end, any number of them, mean nothing. */
export function decodeBitmap(bitmap: Uint8Array): number[] {
  const numbers: number[] = [];
  for (const [index, byte] of bitmap.entries()) {
    for (let bit = 0; bit < 8; bit++) if ((byte & (1 << bit)) !== 0) numbers.push(8 * index + bit);
  }
  return numbers;
}
