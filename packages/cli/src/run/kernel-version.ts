/** The release in a bzImage's header, such as `6.1.0-50-686`; `undefined` when it has none. */
export function kernelVersion(bzimage: Uint8Array): string | undefined {
  const view = new DataView(bzimage.buffer, bzimage.byteOffset, bzimage.byteLength);
  if (bzimage.length < 0x210) return undefined;
  const pointer = view.getUint16(0x20e, true);
  if (pointer === 0) return undefined;
  const text = Buffer.from(bzimage.subarray(0x200 + pointer, 0x200 + pointer + 128)).toString('latin1');
  return /^\d+\.\d+[^\s\0]*/.exec(text)?.[0];
}

/**
 * Which of the two numbers of a window's size a kernel takes first. The specification says columns, and Linux
 * does so since 6.16; before, it took rows.
 */
export function resizeOrderOf(release: string | undefined): 'cols-rows' | 'rows-cols' {
  const [major = 0, minor = 0] = (release ?? '').split('.').map(Number);
  return major > 6 || (major === 6 && minor >= 16) ? 'cols-rows' : 'rows-cols';
}
