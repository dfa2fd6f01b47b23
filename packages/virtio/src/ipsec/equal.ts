/** True when both are alike, found in a time that does not tell where they are not. */
export function equal(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  let different = 0;
  for (let i = 0; i < one.length; i++) different |= one[i]! ^ other[i]!;
  return different === 0;
}
