import type { FileLock, FileTree, OpenFile } from './file-tree.ts';
import type { Handle } from './handle-table.ts';
import { FsError } from './spec-errno.ts';

/** A process of the guest's that holds locks, and of what. */
class LockOwner {
  readonly id: bigint;
  /** Open files by which it may hold a lock. */
  readonly handles: Set<Handle> = new Set();
  /** It may hold locks of whole files, which stay when its ranges are given back. */
  hasWhole = false;
  /** Locks that it waits for: it may hold them any moment. */
  waits = 0;

  constructor(id: bigint) {
    this.id = id;
  }
}

/**
 * Who of the guest holds locks: numbers to it, objects to the tree. Whatever a guest locked is given back when it closes
 * the file or goes away, even if it never says so.
 */
export class LockOwners {
  readonly #most: number;
  readonly #owners = new Map<bigint, LockOwner>();
  /** The same, seen from open files. */
  readonly #ofHandle = new Map<Handle, Set<LockOwner>>();

  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#owners.size;
  }

  /** The object that stands for a number; a new one when nothing is known of it. */
  get(id: bigint): object {
    return this.#owners.get(id) ?? new LockOwner(id);
  }

  /**
   * An owner is about to lock by an open file.
   *
   * @throws {FsError} ENOLCK when there are too many.
   */
  willLock(id: bigint, handle: Handle, whole: boolean): object {
    let owner = this.#owners.get(id);
    const ofHandle = this.#ofHandle.get(handle) ?? new Set();
    if (owner === undefined) {
      if (this.#owners.size >= this.#most) throw FsError.of('ENOLCK');
      owner = new LockOwner(id);
      this.#owners.set(id, owner);
    }
    if (whole) owner.hasWhole = true;
    owner.handles.add(handle);
    ofHandle.add(owner);
    this.#ofHandle.set(handle, ofHandle);
    return owner;
  }

  /** A process closed a file: its locks of ranges are gone, whichever open file they came by. */
  unlockRanges(tree: FileTree<object, OpenFile>, handle: Handle, id: bigint): void | Promise<void> {
    const owner = this.#owners.get(id);
    if (owner === undefined) return;
    this.#forget(owner, handle);
    return tree.setLock?.(handle.file, unlocked(owner, false), undefined);
  }

  /** The same, before the guest's own request to give back every range is carried out. */
  givesBackRanges(handle: Handle, id: bigint): void {
    const owner = this.#owners.get(id);
    if (owner !== undefined) this.#forget(owner, handle);
  }

  /** An owner waits for a lock. */
  async waiting(id: bigint, pending: Promise<void>): Promise<void> {
    const owner = this.#owners.get(id);
    if (owner !== undefined) owner.waits++;
    try {
      await pending;
    } finally {
      if (owner !== undefined) owner.waits--;
    }
  }

  /** No range is locked by it through that open file any more; so mostly nothing is. */
  #forget(owner: LockOwner, handle: Handle): void {
    if (owner.hasWhole || owner.waits > 0) return;
    const ofHandle = this.#ofHandle.get(handle);
    ofHandle?.delete(owner);
    if (ofHandle?.size === 0) this.#ofHandle.delete(handle);
    owner.handles.delete(handle);
    if (owner.handles.size === 0) this.#owners.delete(owner.id);
  }

  /** An open file's lock of the whole is gone. */
  unlockWhole(tree: FileTree<object, OpenFile>, handle: Handle, id: bigint): void | Promise<void> {
    const owner = this.#owners.get(id);
    if (owner === undefined) return;
    return tree.setLock?.(handle.file, unlocked(owner, true), undefined);
  }

  /** Gives back all that was ever locked by an open file. */
  unlockAll(tree: FileTree<object, OpenFile>, handle: Handle): void {
    const owners = this.#ofHandle.get(handle);
    if (owners === undefined) return;
    this.#ofHandle.delete(handle);
    for (const owner of owners) {
      for (const whole of [false, true]) {
        // The file is closed behind it, whatever comes of it.
        const pending = attempt(() => tree.setLock?.(handle.file, unlocked(owner, whole), undefined));
        if (pending instanceof Promise) void pending.catch(() => {});
      }
      owner.handles.delete(handle);
      if (owner.handles.size === 0) this.#owners.delete(owner.id);
    }
  }
}

const unlocked = (owner: object, whole: boolean): FileLock => ({
  type: 'unlock',
  start: 0,
  end: Number.POSITIVE_INFINITY,
  owner,
  pid: 0,
  whole,
});

function attempt(work: () => void | Promise<void>): void | Promise<void> {
  try {
    return work();
  } catch {
    // Nobody waits for it.
  }
}
