import { isBigEndian } from '../../spec/guest-endian.ts';
import { type Codec, le16, le32 } from '../../spec/layout.ts';

/**
 * The integers of FUSE. They have the byte order that the driver chose for its session: little-endian in a plain view,
 * big-endian in the view of a big-endian guest.
 */

const half = 2 ** 32;

/* @__NO_SIDE_EFFECTS__ */
const whole = (
  notation: string,
  size: number,
  codec: Omit<Codec<number>, 'notation' | 'size' | 'parts'>,
) => ({
  ...codec,
  notation,
  size,
  parts: () => [{ name: '', offset: 0, size }],
});

/**
 * 64 bits as a number: above 2^53 it is not exact, and too large for any bound. What must be exact is written below
 * that, or is read as it lies there.
 */
export const uint64: Codec<number> = whole('uint64_t', 8, {
  at: (offset) => ({
    offset,
    size: 8,
    get(view, base = 0) {
      const first = view.getUint32(base + offset, true);
      const second = view.getUint32(base + offset + 4, true);
      return isBigEndian(view) ? first * half + second : second * half + first;
    },
    set(view, base, value) {
      const low = value >>> 0;
      const high = Math.floor(value / half);
      const isBig = isBigEndian(view);
      view.setUint32(base + offset, isBig ? high : low, true);
      view.setUint32(base + offset + 4, isBig ? low : high, true);
    },
  }),
});

/** The same with a sign. */
export const int64: Codec<number> = whole('int64_t', 8, {
  at(offset) {
    const unsigned = uint64.at(offset);
    return {
      ...unsigned,
      get(view, base = 0) {
        const first = view.getUint32(base + offset, true);
        const second = view.getUint32(base + offset + 4, true);
        return isBigEndian(view) ? (first | 0) * half + second : (second | 0) * half + first;
      },
    };
  },
});

/** 64 bits that must be exact. */
export { le64 as uint64Exact } from '../../spec/layout.ts';

export const uint32: Codec<number> = { ...le32, notation: 'uint32_t' };
export const uint16: Codec<number> = { ...le16, notation: 'uint16_t' };

export const int32: Codec<number> = whole('int32_t', 4, {
  at(offset) {
    const unsigned = le32.at(offset);
    return { ...unsigned, get: (view, base) => unsigned.get(view, base) | 0 };
  },
});
