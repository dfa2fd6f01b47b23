/**
 * Names of files are bytes to Linux, and strings here. What is UTF-8 is the text it means; every byte that is not stands
 * as half of a surrogate pair, U+DC80 to U+DCFF, which no text has. So every name goes to and fro unchanged.
 */

/** Added to a byte that is no UTF-8. */
const escaped = 0xdc00;

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;
const isLow = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;

/** Bytes that a name may need: no character of a string takes more. */
export const roomForName = (name: string): number => 3 * name.length;

/** Puts a name's bytes into `target` from `at`, which has `roomForName` for them; answers where they end. */
export function encodeNameInto(name: string, target: Uint8Array, at: number): number {
  let end = at;
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i);
    if (unit < 0x80) {
      target[end++] = unit;
    } else if (unit < 0x800) {
      target[end++] = 0xc0 | (unit >> 6);
      target[end++] = 0x80 | (unit & 0x3f);
    } else if (isHigh(unit) && isLow(name.charCodeAt(i + 1))) {
      const point = 0x1_0000 + ((unit - 0xd800) << 10) + (name.charCodeAt(++i) - 0xdc00);
      target[end++] = 0xf0 | (point >> 18);
      target[end++] = 0x80 | ((point >> 12) & 0x3f);
      target[end++] = 0x80 | ((point >> 6) & 0x3f);
      target[end++] = 0x80 | (point & 0x3f);
    } else if (unit >= escaped + 0x80 && unit <= escaped + 0xff) {
      target[end++] = unit - escaped;
    } else {
      target[end++] = 0xe0 | (unit >> 12);
      target[end++] = 0x80 | ((unit >> 6) & 0x3f);
      target[end++] = 0x80 | (unit & 0x3f);
    }
  }
  return end;
}

/** A name's bytes, without a NUL behind them. */
export function encodeName(name: string): Uint8Array<ArrayBuffer> {
  const room = new Uint8Array(roomForName(name));
  return room.slice(0, encodeNameInto(name, room, 0));
}

/** The name that bytes `from` up to `to` are. */
export function decodeName(bytes: Uint8Array, from = 0, to: number = bytes.length): string {
  let name = '';
  for (let at = from; at < to; ) {
    const first = bytes[at]!;
    const length = first < 0x80 ? 1 : sequenceLength(bytes, at, to);
    if (length <= 1) {
      name += String.fromCharCode(first < 0x80 ? first : escaped + first);
      at++;
      continue;
    }
    // The first byte has one bit less for each byte of its character.
    let point = first & (0x7f >> length);
    for (let i = 1; i < length; i++) point = (point << 6) | (bytes[at + i]! & 0x3f);
    name += String.fromCodePoint(point);
    at += length;
  }
  return name;
}

/** Bytes of the character that begins at `at`; 0 where none of UTF-8 does. */
function sequenceLength(bytes: Uint8Array, at: number, to: number): number {
  const first = bytes[at]!;
  const length = first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : 4;
  if (first < 0xc2 || first > 0xf4 || at + length > to) return 0;
  for (let i = 1; i < length; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return 0;
  const second = bytes[at + 1]!;
  // Longer than need be, half of a surrogate pair, or beyond the last character.
  if (first === 0xe0 && second < 0xa0) return 0;
  if (first === 0xed && second >= 0xa0) return 0;
  if (first === 0xf0 && second < 0x90) return 0;
  return first === 0xf4 && second >= 0x90 ? 0 : length;
}
