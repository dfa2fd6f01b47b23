import { UsageError } from '../../errors.ts';

/**
 * A MAC address in bytes, from bytes or from `52:54:00:12:34:56`.
 *
 * @throws {UsageError} BAD_ARGUMENT for what is none.
 */
export function macAddress(given: string | Uint8Array): Uint8Array<ArrayBuffer> {
  if (typeof given !== 'string') {
    if (given.length !== 6) throw notMac(`${given.length} bytes`);
    return new Uint8Array(given);
  }
  const parts = given.split(/[:-]/);
  if (parts.length !== 6 || !parts.every((part) => /^[0-9a-f]{2}$/i.test(part))) throw notMac(given);
  return Uint8Array.from(parts, (part) => Number.parseInt(part, 16));
}

/** True for the address of several stations, or of all. */
export const isMulticast = (mac: Uint8Array): boolean => ((mac[0] ?? 0) & 1) !== 0;

/** An address of nobody's, for those who are given none: locally administered. */
export const randomMac = (): Uint8Array<ArrayBuffer> =>
  Uint8Array.from({ length: 6 }, (_, i) => (i === 0 ? 0x02 : Math.floor(Math.random() * 256)));

const notMac = (what: string): UsageError =>
  new UsageError('BAD_ARGUMENT', `${what}: a MAC address has six bytes, as in 52:54:00:12:34:56`);
