import { type ErrnoName, FsError } from 'virtio/devices/fs';

/** What the browser's file functions fail with, by the names of its exceptions. */
const codes: Readonly<Record<string, ErrnoName>> = {
  NotFoundError: 'ENOENT',
  TypeMismatchError: 'EEXIST',
  InvalidModificationError: 'ENOTEMPTY',
  NoModificationAllowedError: 'EBUSY',
  NotAllowedError: 'EACCES',
  SecurityError: 'EACCES',
  QuotaExceededError: 'ENOSPC',
  NotSupportedError: 'EOPNOTSUPP',
  // A name that this browser, or the system beneath it, does not take.
  TypeError: 'EINVAL',
};

/** The name of what was thrown, be it an `Error` or a `DOMException`. */
export const nameOf = (error: unknown): string => String(Object(error).name);

/** Turns what the browser's file functions fail with into what a guest reads; leaves all else as it is. */
export function asFsError(error: unknown): unknown {
  if (error instanceof FsError) return error;
  const code = codes[nameOf(error)];
  return code === undefined ? error : FsError.of(code);
}

export const fail = (code: ErrnoName): never => {
  throw FsError.of(code);
};
