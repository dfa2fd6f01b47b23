/** Bytes of an image that tell where they belong, and with the seed which write they are of. */
export function pattern(length: number, seed = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = at * 13 + (at >> 9) + seed;
  return bytes;
}
