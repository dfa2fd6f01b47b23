import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { HostError, type HostErrorCode } from 'virtio/errors';

const { EAGAIN, ECONNRESET, EINTR, ENOENT, ENOMEM, ENOSPC, EPIPE } = constants.errno;

/** What a system call gave, when it is the moment to come back later. */
export const tryAgain: number = -EAGAIN;

/** A signal came in between: the same call again. */
export const interrupted: number = -EINTR;

/** The other end of a socket is gone, which is no failure of ours. */
export function isGone(result: number): boolean {
  return result === -EPIPE || result === -ECONNRESET;
}

/** The error for a system call that gave `result`, minus an errno. `message` says what could not be done. */
export function failure(result: number, message: string): HostError {
  return new HostError(codeOf(-result), `${message} (${errorName(result)})`);
}

function codeOf(errno: number): HostErrorCode {
  if (errno === ENOSPC || errno === ENOMEM) return 'NO_SPACE';
  return errno === ENOENT ? 'NOT_FOUND' : 'IO_ERROR';
}

function errorName(result: number): string {
  try {
    return getSystemErrorName(result);
  } catch {
    return `errno ${-result}`; // one that libuv has no name for
  }
}
