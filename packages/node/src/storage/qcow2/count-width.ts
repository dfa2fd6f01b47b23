/** Reads and writes reference counts of one width in the bytes of a block. */
export interface CountWidth {
  readonly bits: number;
  /** The largest count. */
  readonly most: number;
  get(bytes: Uint8Array, index: number): number;
  set(bytes: Uint8Array, index: number, count: number): void;
}

/** Widths below a byte start at its lowest bit, wider ones are big-endian. Nearly every image has 16 bits. */
export function countWidth(order: number): CountWidth {
  const bits = 2 ** order;
  const most = Math.min(2 ** bits - 1, Number.MAX_SAFE_INTEGER);
  if (bits === 16) {
    return {
      bits,
      most,
      get: (bytes, index) => (bytes[index * 2]! << 8) | bytes[index * 2 + 1]!,
      set(bytes, index, count) {
        bytes[index * 2] = count >> 8;
        bytes[index * 2 + 1] = count & 0xff;
      },
    };
  }
  if (bits >= 8) {
    const length = bits / 8;
    return {
      bits,
      most,
      get(bytes, index) {
        let count = 0;
        for (let at = index * length; at < (index + 1) * length; at++) count = count * 256 + bytes[at]!;
        return count;
      },
      set(bytes, index, count) {
        let rest = count;
        for (let at = (index + 1) * length - 1; at >= index * length; at--) {
          bytes[at] = rest % 256;
          rest = Math.floor(rest / 256);
        }
      },
    };
  }
  const perByte = 8 / bits;
  return {
    bits,
    most,
    get: (bytes, index) => (bytes[Math.floor(index / perByte)]! >> ((index % perByte) * bits)) & most,
    set(bytes, index, count) {
      const at = Math.floor(index / perByte);
      const shift = (index % perByte) * bits;
      bytes[at] = (bytes[at]! & ~(most << shift)) | (count << shift);
    },
  };
}
