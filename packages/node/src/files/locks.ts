import { type FileLock, FsError, type Interruption } from 'virtio/devices/fs';
import type { Descriptors } from './descriptors.ts';
import { failed } from './failure.ts';
import type { Inode, Inodes } from './inodes.ts';
import { O } from './linux.ts';

const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const types = { read: 0, write: 1, unlock: 2 } as const;
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;
const EAGAIN = 11;
const EACCES = 13;
const EROFS = 30;

/** Milliseconds between two looks at a lock that somebody else holds: at first, and at most. Linux tells nobody of it. */
const shortest = 5;
const longest = 200;

/** Who holds a lock when it is nobody of ours. */
const somebody = {};

/** `struct flock`. */
const buffer = new ArrayBuffer(32);
const bytes = new Uint8Array(buffer);
const view = new DataView(buffer);

/** Somebody who waits for a lock, and looks again whenever somebody gives one back. */
interface Waiter {
  retry(): void;
}

/** What one inode's locks are held by: an open of the file for each owner. Locks of Linux are an open file's. */
class Holders {
  readonly ranges = new Map<object, number>();
  readonly whole = new Map<object, number>();
  readonly waiting = new Set<Waiter>();
}

/**
 * Locks of a guest's processes that hold against each other, against those of other guests, and against programs of the
 * host. Nobody finds out when two wait for one another.
 */
export class Locks {
  readonly #descriptors: Descriptors;
  readonly #inodes: Inodes;
  readonly #readOnly: boolean;
  readonly #holders = new Map<Inode, Holders>();

  constructor(descriptors: Descriptors, inodes: Inodes, readOnly: boolean) {
    this.#descriptors = descriptors;
    this.#inodes = inodes;
    this.#readOnly = readOnly;
  }

  /** The lock that is in the way. */
  find(inode: Inode, lock: FileLock): FileLock | undefined {
    if (lock.whole) return undefined;
    putLock(lock);
    const result = this.#descriptors.calls.lock(this.#holder(inode, lock), F_OFD_GETLK, bytes);
    if (result < 0) throw failed(result);
    const type = view.getInt16(0, true);
    if (type === types.unlock) return undefined;
    const start = Number(view.getBigInt64(8, true));
    const length = Number(view.getBigInt64(16, true));
    const end = length === 0 ? Infinity : start + length - 1;
    // Whose it is, Linux does not tell.
    return {
      type: type === types.read ? 'read' : 'write',
      start,
      end,
      owner: somebody,
      pid: 0,
      whole: false,
    };
  }

  /** Takes a lock or gives one back; waits for it where a guest is ready to. */
  set(inode: Inode, lock: FileLock, wait: Interruption | undefined): void | Promise<void> {
    if (lock.type === 'unlock') {
      this.#release(inode, lock);
      return;
    }
    if (this.#try(inode, lock)) return;
    // Whoever wants another kind of lock by `flock` has given the old one back.
    if (lock.whole) this.#wake(inode);
    if (wait === undefined) throw new FsError('EAGAIN');
    return this.#wait(inode, lock, wait);
  }

  /** Nobody knows the inode any more. */
  forget(inode: Inode): void {
    const holders = this.#holders.get(inode);
    if (holders === undefined) return;
    this.#holders.delete(inode);
    for (const fd of [...holders.ranges.values(), ...holders.whole.values()]) this.#descriptors.close(fd);
  }

  close(): void {
    for (const inode of [...this.#holders.keys()]) this.forget(inode);
  }

  /** False when another one is in the way. */
  #try(inode: Inode, lock: FileLock): boolean {
    const result = this.#call(this.#holder(inode, lock), lock);
    if (result >= 0) return true;
    if (result === -EAGAIN || result === -EACCES) return false;
    throw failed(result);
  }

  #call(fd: number, lock: FileLock): number {
    const { calls } = this.#descriptors;
    if (!lock.whole) {
      putLock(lock);
      return calls.lock(fd, F_OFD_SETLK, bytes);
    }
    const operation = lock.type === 'read' ? LOCK_SH : lock.type === 'write' ? LOCK_EX : LOCK_UN;
    return calls.flock(fd, operation | LOCK_NB);
  }

  #release(inode: Inode, lock: FileLock): void {
    const holders = this.#holders.get(inode);
    const map = lock.whole ? holders?.whole : holders?.ranges;
    const fd = map?.get(lock.owner);
    if (fd === undefined) return;
    if (lock.whole || (lock.start === 0 && lock.end === Infinity)) {
      map?.delete(lock.owner);
      this.#descriptors.close(fd);
    } else {
      const result = this.#call(fd, lock);
      if (result < 0) throw failed(result);
    }
    this.#wake(inode);
  }

  #wake(inode: Inode): void {
    for (const waiter of [...(this.#holders.get(inode)?.waiting ?? [])]) waiter.retry();
  }

  #wait(inode: Inode, lock: FileLock, wait: Interruption): Promise<void> {
    const { waiting } = this.#holdersOf(inode);
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      let pause = shortest;
      const end = (settle: () => void): void => {
        clearTimeout(timer);
        waiting.delete(waiter);
        wait.onInterrupt = undefined;
        settle();
      };
      const waiter: Waiter = {
        retry: () => {
          try {
            // Whoever got it in between may have had others look again.
            if (waiting.has(waiter) && this.#try(inode, lock)) end(resolve);
          } catch (error) {
            end(() => reject(error));
          }
        },
      };
      const look = (): void => {
        waiter.retry();
        if (!waiting.has(waiter)) return;
        pause = Math.min(2 * pause, longest);
        timer = setTimeout(look, pause);
        timer.unref();
      };
      const giveUp = (): void => end(() => reject(new FsError('EINTR')));
      waiting.add(waiter);
      wait.onInterrupt = giveUp;
      if (wait.interrupted) giveUp();
      else look();
    });
  }

  #holdersOf(inode: Inode): Holders {
    let holders = this.#holders.get(inode);
    if (holders === undefined) {
      holders = new Holders();
      this.#holders.set(inode, holders);
    }
    return holders;
  }

  #holder(inode: Inode, { whole, owner }: FileLock): number {
    const holders = this.#holdersOf(inode);
    const map = whole ? holders.whole : holders.ranges;
    const known = map.get(owner);
    if (known !== undefined) return known;
    const fd = this.#inodes.descriptor(inode);
    let opened = this.#readOnly ? -EROFS : this.#descriptors.reopen(fd, O.RDWR);
    if (opened === -EACCES || opened === -EROFS) opened = this.#descriptors.reopen(fd, 0);
    if (opened < 0) throw failed(opened);
    map.set(owner, opened);
    return opened;
  }
}

function putLock({ type, start, end }: FileLock): void {
  bytes.fill(0);
  view.setInt16(0, types[type], true);
  view.setBigInt64(8, BigInt(start), true);
  view.setBigInt64(16, end === Infinity ? 0n : BigInt(end) - BigInt(start) + 1n, true);
}
