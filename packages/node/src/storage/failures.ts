import { constants } from 'node:os';
import { HostError, type HostErrorCode } from 'virtio/errors';

/** What a failed system call means to a person, and to a program. */
export function failureOf(path: string, what: string, cause: unknown): HostError {
  const name = errorName(cause);
  const explained = explanations[name];
  if (explained !== undefined) return new HostError(explained[0], `${path} ${explained[1]}`, { cause });
  return new HostError('IO_ERROR', `${path} cannot be ${what}: ${name}`, { cause });
}

/** What is said of an image whose bytes from `end` on are gone. */
export const wasCut = (path: string, end: number): HostError =>
  new HostError('BAD_IMAGE', `${path} ends at byte ${end}: it was cut while in use`);

const explanations: Readonly<Record<string, readonly [HostErrorCode, string]>> = {
  ENOENT: ['NOT_FOUND', 'does not exist: check the name'],
  ENOTDIR: ['NOT_FOUND', 'does not exist: a part of its path is not a directory'],
  EEXIST: ['IN_USE', 'is there already: choose another name, or remove it'],
  EISDIR: ['BAD_IMAGE', 'is a directory: give a raw disk image'],
  EACCES: ['IO_ERROR', 'may not be opened: change its permissions, or open it read-only'],
  EPERM: ['IO_ERROR', 'may not be opened: change its permissions, or open it read-only'],
  EROFS: ['IO_ERROR', 'is on a file system that is read-only: open it read-only'],
  ETXTBSY: ['IN_USE', 'is in use by the kernel'],
  ENOSPC: ['NO_SPACE', 'cannot grow: the file system is full'],
  EDQUOT: ['NO_SPACE', 'cannot grow: the disk quota is used up'],
  EFBIG: ['NO_SPACE', 'cannot grow: the file system allows no larger file'],
};

function errorName(cause: unknown): string {
  if (typeof cause !== 'object' || cause === null) return String(cause);
  if ('code' in cause && typeof cause.code === 'string') return cause.code;
  const errno = 'errno' in cause ? cause.errno : undefined;
  const known = Object.entries(constants.errno).find(([, value]) => value === errno);
  return known?.[0] ?? (cause instanceof Error ? cause.message : `errno ${String(errno)}`);
}
