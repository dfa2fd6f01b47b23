import { endianness } from 'node:os';
import { UsageError } from 'virtio/errors';

export const AF_UNIX = 1;
/** Bytes of `sun_path`. */
const pathLength = 108;
const familyLength = 2;

/** `struct sockaddr_un`, and how many bytes of it count. */
export interface SocketAddress {
  readonly bytes: Uint8Array;
  readonly length: number;
}

/** True for a name that is in no file system. */
export function isAbstract(path: string): boolean {
  return path.startsWith('@');
}

/**
 * The address of a path, or of an abstract name, which begins with `@`.
 *
 * @throws {UsageError} BAD_ARGUMENT for a path that is empty or too long for the system.
 */
export function socketAddress(path: string): SocketAddress {
  const name = new TextEncoder().encode(path);
  const bytes = new Uint8Array(familyLength + pathLength);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_UNIX, endianness() === 'LE');
  if (name.length === 0 || name.includes(0)) {
    throw new UsageError('BAD_ARGUMENT', 'a socket needs a path, without zeros in it');
  }
  if (isAbstract(path)) {
    checkLength(path, name.length, pathLength);
    bytes.set(name.subarray(1), familyLength + 1);
    return { bytes, length: familyLength + name.length };
  }
  checkLength(path, name.length, pathLength - 1);
  bytes.set(name, familyLength);
  return { bytes, length: familyLength + name.length + 1 };
}

function checkLength(path: string, length: number, most: number): void {
  if (length <= most) return;
  throw new UsageError(
    'BAD_ARGUMENT',
    `${path} has ${length} bytes, and a socket's path at most ${most}: choose a shorter one, or one relative to the working folder`,
  );
}
