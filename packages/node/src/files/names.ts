import { readlinkSync } from 'node:fs';
import { decodeName, encodeName } from 'virtio/devices/fs';

/** The empty name: what a descriptor itself is meant by, and a call's last argument where none is needed. */
export const noName: Uint8Array = Uint8Array.of(0);
export const dot: Uint8Array = Uint8Array.of(0x2e, 0);

/** Bytes of the longest name that Linux takes, and a zero. */
const room = 256;
// Two of them: a call names two things at most.
const buffers: readonly [Uint8Array, Uint8Array] = [new Uint8Array(room), new Uint8Array(room)];

/**
 * A name as a call takes it: its bytes and a zero. It is good until the next one is asked for.
 *
 * @param place 1 for the second of two names that one call takes
 */
export function nameBytes(name: string, place: 0 | 1 = 0): Uint8Array {
  const bytes = buffers[place];
  const { length } = name;
  if (length >= room) return ended(name);
  for (let at = 0; at < length; at++) {
    const unit = name.charCodeAt(at);
    if (unit >= 0x80) return ended(name);
    bytes[at] = unit;
  }
  bytes[length] = 0;
  return bytes;
}

/** Text of any length, and a zero. */
export function ended(text: string): Uint8Array {
  const bytes = encodeName(text);
  const result = new Uint8Array(bytes.length + 1);
  result.set(bytes);
  return result;
}

const digits = new Uint8Array(12);

/** A number as a name in `/proc/self/fd`. It is good until the next one is asked for. */
export function numberName(value: number): Uint8Array {
  let count = 1;
  for (let rest = value; rest >= 10; rest = (rest / 10) | 0) count++;
  digits[count] = 0;
  for (let rest = value, at = count - 1; at >= 0; at--) {
    digits[at] = 0x30 + (rest % 10);
    rest = (rest / 10) | 0;
  }
  return digits;
}

const pathOf = (fd: number): Buffer => readlinkSync(`/proc/self/fd/${fd}`, 'buffer');

/** The names that lead from a folder to a file, both by their descriptors; `undefined` when it is not in it any more. */
export function namesWithin(folder: number, file: number): string[] | undefined {
  const [above, path] = [pathOf(folder), pathOf(file)];
  const prefix = above.length === 1 ? above : Buffer.concat([above, Buffer.from('/')]);
  if (!path.subarray(0, prefix.length).equals(prefix)) return undefined;
  // In Latin-1 a byte is a letter, so that names that are no text stay whole.
  const names = path.subarray(prefix.length).toString('latin1').split('/');
  return names.map((name) => decodeName(Buffer.from(name, 'latin1')));
}

const isName = (name: unknown): boolean =>
  typeof name === 'string' && !['', '.', '..'].includes(name) && !name.includes('/') && !name.includes('\0');

/** Whether these can be names of files, one within the other. */
export const areNames = (value: unknown): value is string[] =>
  Array.isArray(value) && value.length > 0 && value.every(isName);
