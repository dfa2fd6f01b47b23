import { UsageError } from '../errors.ts';

/**
 * The bytes of a text in UTF-8. The language alone has no encoder, but its URI functions know UTF-8.
 *
 * @throws {UsageError} BAD_ARGUMENT for half of a surrogate pair.
 */
export function encodeUtf8(text: string): Uint8Array<ArrayBuffer> {
  let escaped: string;
  try {
    escaped = encodeURIComponent(text);
  } catch {
    throw new UsageError('BAD_ARGUMENT', 'a text with half of a surrogate pair has no UTF-8');
  }
  const units = escaped.match(/%[0-9A-F]{2}|[^%]/g) ?? [];
  return Uint8Array.from(units, (unit) =>
    unit.length === 1 ? unit.charCodeAt(0) : Number.parseInt(unit.slice(1), 16),
  );
}

/** The text that bytes hold in UTF-8. Where they are no UTF-8, every byte above 127 reads as U+FFFD. */
export function decodeUtf8(bytes: Uint8Array): string {
  const hex = Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, '0')}`);
  try {
    return decodeURIComponent(hex.join(''));
  } catch {
    return Array.from(bytes, (byte) => (byte < 128 ? String.fromCharCode(byte) : '\ufffd')).join('');
  }
}
