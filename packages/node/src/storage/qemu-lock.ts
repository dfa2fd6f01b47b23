import { systemCalls } from '../ffi/files.ts';
import { linuxCalls } from '../ffi/linux.ts';

/**
 * QEMU's programs agree by locks on single bytes of an image: for each thing that somebody does to it a byte from 100 on,
 * for each thing that he cannot have others do a byte from 200 on, all locked as by readers. Who comes asks whether
 * any of the bytes against him is locked.
 */
const does = 100;
const forbids = 200;
/** What can be done, by the number that QEMU gives it. */
const deed = { READ_CONSISTENTLY: 0, WRITE: 1, RESIZE: 3 } as const;

const command = { OFD_GETLK: 36, OFD_SETLK: 37 } as const;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;

/**
 * Takes part in the locks of QEMU's programs, for as long as the file is open. False when one of them is in the way;
 * where the file system has no such locks nobody is.
 */
export function lockAgainstQemu(fd: number, kind: 'shared' | 'exclusive'): boolean {
  const own = kind === 'shared' ? [deed.READ_CONSISTENTLY] : Object.values(deed);
  const others = [deed.WRITE, deed.RESIZE];
  const locked = [...own.map((one) => does + one), ...others.map((one) => forbids + one)];
  for (const byte of locked) if (!setLock(fd, byte)) return true;
  const against = [...own.map((one) => forbids + one), ...others.map((one) => does + one)];
  return against.every((byte) => !isLocked(fd, byte));
}

function setLock(fd: number, byte: number): boolean {
  return call(fd, command.OFD_SETLK, lockOf(F_RDLCK, byte)) === 0;
}

/** Whether another open of the file has a lock on the byte. */
function isLocked(fd: number, byte: number): boolean {
  const lock = lockOf(F_WRLCK, byte);
  return call(fd, command.OFD_GETLK, lock) === 0 && lock.getInt16(0, true) !== F_UNLCK;
}

function call(fd: number, what: number, lock: DataView<ArrayBuffer>): number {
  return linuxCalls().fcntl(fd, what, Number(systemCalls().addressOf(lock.buffer)));
}

/** A `struct flock` of one byte. Larger than it is, so that the engine keeps it where it can be found. */
function lockOf(type: number, byte: number): DataView<ArrayBuffer> {
  const lock = new DataView(new ArrayBuffer(128));
  lock.setInt16(0, type, true);
  lock.setBigInt64(8, BigInt(byte), true);
  lock.setBigInt64(16, 1n, true);
  return lock;
}
