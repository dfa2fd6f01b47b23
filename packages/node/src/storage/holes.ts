import { constants } from 'node:os';
import { systemCalls } from '../ffi/files.ts';

const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const FALLOC_FL_ZERO_RANGE = 16;

/** What a file system makes of a range without its bytes being written. */
export type HoleResult = 'done' | 'unsupported' | { readonly errno: number };

/** Gives the room of a range back; it reads as 0 afterwards. */
export function punchHole(fd: number, offset: number, length: number): HoleResult {
  return allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

/** Makes a range read as 0, keeping its room. */
export function zeroRange(fd: number, offset: number, length: number): HoleResult {
  return allocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length);
}

function allocate(fd: number, mode: number, offset: number, length: number): HoleResult {
  const { fallocate } = systemCalls();
  if (fallocate === undefined) return 'unsupported';
  const { EINTR, EOPNOTSUPP, ENOSYS, ENOTSUP } = constants.errno;
  let errno: number;
  do errno = -fallocate(fd, mode, offset, length);
  while (errno === EINTR);
  if (errno === 0) return 'done';
  if (errno === EOPNOTSUPP || errno === ENOTSUP || errno === ENOSYS) return 'unsupported';
  return { errno };
}
