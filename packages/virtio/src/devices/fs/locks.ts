import type { Eventually } from '../../device/eventually.ts';
import type { FileLock, Interruption } from './file-tree.ts';
import { FsError } from './spec-errno.ts';

/** A lock that somebody holds. */
type Held = FileLock;

interface Waiter {
  readonly lock: FileLock;
  readonly grant: () => void;
}

/** The locks of one file. */
interface Locks {
  ranges: Held[];
  wholes: Held[];
  readonly waiters: Waiter[];
}

const conflicts = (a: FileLock, b: FileLock): boolean =>
  a.owner !== b.owner &&
  (a.type === 'write' || b.type === 'write') &&
  (a.whole || (a.start <= b.end && b.start <= a.end));

/**
 * The locks on the files of a tree, by the rules of POSIX for ranges and of `flock` for whole files; the two know nothing
 * of each other. A tree that has no locks beneath it keeps one of these. Guests of several devices that share the tree
 * are kept apart by their owners.
 */
export class LockTable {
  readonly #most: number;
  readonly #files = new Map<object, Locks>();
  #count = 0;

  /** At most so many locks are held and waited for, 65,536 unless told: more fail with ENOLCK. */
  constructor(most = 65_536) {
    this.#most = most;
  }

  /** How many locks are held, and waited for. */
  get size(): number {
    return this.#count;
  }

  /** The lock that is in the way of one on `file`, which is any object that stands for it. */
  find(file: object, lock: FileLock): FileLock | undefined {
    const locks = this.#files.get(file);
    return locks === undefined ? undefined : blocking(locks, lock);
  }

  /** Takes or gives back a lock, as `FileTree.setLock` has it. */
  set(file: object, lock: FileLock, wait: Interruption | undefined): Eventually<void> {
    const known = this.#files.get(file);
    if (lock.type === 'unlock') {
      if (known !== undefined) this.#unlock(file, known, lock);
      return;
    }
    const locks = known ?? { ranges: [], wholes: [], waiters: [] };
    const blocker = blocking(locks, lock);
    if (blocker !== undefined) {
      if (wait === undefined) throw FsError.of('EAGAIN');
      if (wait.interrupted) throw FsError.of('EINTR');
      if (!lock.whole && this.#wouldDeadlock(blocker.owner, lock.owner)) throw FsError.of('EDEADLK');
      return this.#wait(file, locks, lock, wait);
    }
    this.#files.set(file, locks);
    this.#take(locks, lock);
    // It may have been made less than it was.
    this.#grant(file, locks);
  }

  #wait(file: object, locks: Locks, lock: FileLock, wait: Interruption): Promise<void> {
    this.#checkRoom(1);
    this.#count++;
    return new Promise<void>((resolve, reject) => {
      const end = (): void => {
        locks.waiters.splice(locks.waiters.indexOf(waiter), 1);
        wait.onInterrupt = undefined;
        this.#count--;
      };
      const waiter: Waiter = {
        lock,
        grant: () => {
          end();
          try {
            this.#take(locks, lock);
            resolve();
          } catch (error) {
            reject(error);
          }
        },
      };
      locks.waiters.push(waiter);
      wait.onInterrupt = () => {
        end();
        this.#forget(file, locks);
        reject(FsError.of('EINTR'));
      };
    });
  }

  #take(locks: Locks, lock: FileLock): void {
    if (lock.whole) {
      const others = locks.wholes.filter(({ owner }) => owner !== lock.owner);
      this.#checkRoom(others.length + 1 - locks.wholes.length);
      this.#count += others.length + 1 - locks.wholes.length;
      locks.wholes = [...others, lock];
      return;
    }
    const others = merged(without(locks.ranges, lock), lock);
    this.#checkRoom(others.length - locks.ranges.length);
    this.#count += others.length - locks.ranges.length;
    locks.ranges = others;
  }

  #unlock(file: object, locks: Locks, lock: FileLock): void {
    const before = locks.ranges.length + locks.wholes.length;
    if (lock.whole) {
      locks.wholes = locks.wholes.filter(({ owner }) => owner !== lock.owner);
    } else {
      const rest = without(locks.ranges, lock);
      // Giving back the middle of a range makes two of it.
      this.#checkRoom(rest.length - locks.ranges.length);
      locks.ranges = rest;
    }
    this.#count += locks.ranges.length + locks.wholes.length - before;
    this.#grant(file, locks);
    this.#forget(file, locks);
  }

  /** Those who wait get what is free now, the first first. */
  #grant(file: object, locks: Locks): void {
    for (const waiter of [...locks.waiters]) {
      if (blocking(locks, waiter.lock) !== undefined) continue;
      this.#files.set(file, locks);
      waiter.grant();
    }
  }

  #forget(file: object, { ranges, wholes, waiters }: Locks): void {
    if (ranges.length + wholes.length + waiters.length === 0) this.#files.delete(file);
  }

  /** @throws {FsError} ENOLCK. */
  #checkRoom(more: number): void {
    if (more > 0 && this.#count + more > this.#most) throw FsError.of('ENOLCK');
  }

  /** True when `from` waits, over others perhaps, for what `owner` holds. */
  #wouldDeadlock(from: object, owner: object): boolean {
    const seen = new Set<object>([from]);
    for (const current of seen) {
      if (current === owner) return true;
      for (const locks of this.#files.values()) {
        for (const { lock } of locks.waiters) {
          if (lock.owner !== current || lock.whole) continue;
          const blocker = blocking(locks, lock);
          if (blocker !== undefined) seen.add(blocker.owner);
        }
      }
    }
    return false;
  }
}

const blocking = (locks: Locks, lock: FileLock): FileLock | undefined =>
  (lock.whole ? locks.wholes : locks.ranges).find((held) => conflicts(held, lock));

/** The ranges without the part of the owner's that `lock` covers. */
function without(ranges: readonly Held[], lock: FileLock): Held[] {
  return ranges.flatMap((held) => {
    if (held.owner !== lock.owner || held.end < lock.start || held.start > lock.end) return [held];
    return [
      ...(held.start < lock.start ? [{ ...held, end: lock.start - 1 }] : []),
      ...(held.end > lock.end ? [{ ...held, start: lock.end + 1 }] : []),
    ];
  });
}

/** The ranges and one more, joined with those of its owner that it touches. */
function merged(ranges: readonly Held[], lock: FileLock): Held[] {
  let { start, end } = lock;
  const others = ranges.filter((held) => {
    const touches =
      held.owner === lock.owner &&
      held.type === lock.type &&
      held.start <= lock.end + 1 &&
      held.end + 1 >= lock.start;
    if (touches) {
      start = Math.min(start, held.start);
      end = Math.max(end, held.end);
    }
    return !touches;
  });
  return [...others, { ...lock, start, end }];
}
