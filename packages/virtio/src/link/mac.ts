import { UsageError } from '../errors.ts';

/**
 * A MAC address in bytes, from bytes or from `52:54:00:12:34:56`: six numbers of one or two digits, between colons or dashes.
 *
 * @throws {UsageError} BAD_ARGUMENT for what is none.
 */
export function macAddress(given: string | Uint8Array): Uint8Array<ArrayBuffer> {
  if (typeof given !== 'string') {
    if (given.length !== 6) throw notMac(`${given.length} bytes`);
    return new Uint8Array(given);
  }
  if (!/^[0-9a-f]{1,2}([:-])[0-9a-f]{1,2}(?:\1[0-9a-f]{1,2}){4}$/i.test(given)) throw notMac(given);
  return Uint8Array.from(given.split(/[:-]/), (part) => Number.parseInt(part, 16));
}

const notMac = (what: string): UsageError =>
  new UsageError('BAD_ARGUMENT', `${what}: a MAC address has six bytes, as in 52:54:00:12:34:56`);

/** True for the address of several stations, or of all. */
export const isMulticast = (mac: Uint8Array): boolean => ((mac[0] ?? 0) & 1) !== 0;

/** An address of nobody's, for those who are given none: locally administered. */
export const randomMac = (): Uint8Array<ArrayBuffer> =>
  Uint8Array.from({ length: 6 }, (_, i) => (i === 0 ? 0x02 : Math.floor(Math.random() * 256)));

/** A MAC address as `52:54:00:12:34:56`. */
export const macText = (mac: Uint8Array): string =>
  Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');

/** The MAC address that begins at `at` as a number of 48 bits, for tables. */
export function macNumber(bytes: Uint8Array, at: number): number {
  const high = (bytes[at]! << 8) | bytes[at + 1]!;
  const low =
    ((bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!) >>> 0;
  return high * 0x1_0000_0000 + low;
}
