import { constants } from 'node:os';
import { HostError } from 'virtio/errors';
import { systemCalls } from '../ffi/files.ts';
import { lockAgainstQemu } from './qemu-lock.ts';

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Locks an open image: one writer, or any number of readers. The kernel holds the lock, so a process that
 * dies leaves none behind. On Linux QEMU's programs are asked too, and told. Windows has no such lock.
 *
 * @throws {HostError} IN_USE when somebody else has it.
 */
export function lockImage(fd: number, path: string, kind: 'shared' | 'exclusive'): void {
  if (process.platform === 'win32') return;
  const operation = (kind === 'shared' ? LOCK_SH : LOCK_EX) | LOCK_NB;
  const errno = -systemCalls().flock(fd, operation);
  if (errno === 0) {
    if (process.platform !== 'linux' || lockAgainstQemu(fd, kind)) return;
    throw new HostError(
      'IN_USE',
      `${path} is in use by a program of QEMU's; end that program, or use a copy`,
    );
  }
  if (errno === constants.errno.EWOULDBLOCK || errno === constants.errno.EAGAIN) {
    const hint = kind === 'shared' ? 'another program writes it' : 'another program has it open';
    throw new HostError('IN_USE', `${path} is in use: ${hint}; end that program, or use a copy`);
  }
  throw new HostError('IO_ERROR', `${path} cannot be locked (errno ${errno})`);
}
