import type { Eventually } from '../../device/eventually.ts';
import type { Json } from '../../device/json.ts';
import type {
  Allocation,
  AttributeChanges,
  Attributes,
  RenameRule,
  SeekKind,
  TreeStatistics,
} from './spec-attributes.ts';

export type {
  Allocation,
  AttributeChanges,
  Attributes,
  FileTime,
  RenameRule,
  SeekKind,
  TreeStatistics,
} from './spec-attributes.ts';

/** Who asks. Good until the next `await`: keep what you need of it. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
}

/** A file that was found under a name. Every one that a tree answers is a use of its node, until `forget`. */
export interface Entry<N> {
  /** The same object for the same file, under whatever name, while it is in use. */
  readonly node: N;
  readonly attributes: Attributes;
}

/** How a guest may keep what it reads of an open file: past the next open, until then, or not at all. */
export type DataCache = 'keep' | 'drop' | 'none';

/** An open file or directory of a tree: the tree puts into it what it likes. */
export interface OpenFile {
  /** Instead of the tree's own rule. For a directory `keep` lets the guest keep its listing, too. */
  readonly dataCache?: DataCache | undefined;
}

/** A file that was made and opened in one step. */
export interface Created<N, F> {
  readonly entry: Entry<N>;
  readonly file: F;
}

/** What a guest may keep, and how long. Everything is seconds, fractions allowed. */
export interface CacheRules {
  /** That a name stands for a file. 1 unless told. */
  readonly entrySeconds?: number;
  /** That a name stands for nothing. 0 unless told. */
  readonly absentSeconds?: number;
  /** A file's attributes. 1 unless told. */
  readonly attributeSeconds?: number;
  /** What was read of a file; `drop` unless told. */
  readonly data?: DataCache;
  /** The guest may hold writes back and keep sizes and times itself: for trees that nobody else writes to. */
  readonly writeback?: boolean;
  /** The guest may keep where symbolic links point to. */
  readonly symlinks?: boolean;
  /** Whether a listing brings attributes along: when the guest finds it worth while, unless told. */
  readonly listAttributes?: 'auto' | 'always' | 'never';
}

/** Takes a directory's entries, as many as fit. */
export interface DirectorySink {
  /**
   * Gives the next entry: its name, `.` and `..` as well where the tree has them, its inode number and its type (the
   * upper four bits of a mode, shifted down by 12). `next` is the offset from which the entries behind it follow: a whole
   * number above 0 and below 2^53. False when it does not fit: it was not taken, and no other will be.
   */
  add(name: string, ino: number, type: number, next: number): boolean;
}

/** A lock on a range of a file's bytes, or on all of an open file. */
export interface FileLock {
  readonly type: 'read' | 'write' | 'unlock';
  /** The first byte, and the last; `Infinity` to the end of the file, however long it grows. */
  readonly start: number;
  readonly end: number;
  /** Who holds it: the same object for the same process of the same guest, and good for nothing else. */
  readonly owner: object;
  /** The guest's process, for others to be told. */
  readonly pid: number;
  /** An advisory lock of the whole file by an open file (`flock`), which knows nothing of the other kind. */
  readonly whole: boolean;
}

/** What a guest that waits can be told to give up. */
export interface Interruption {
  readonly interrupted: boolean;
  /** Called once, when the guest gives up; the tree sets it. The request is to fail with EINTR then. */
  onInterrupt: (() => void) | undefined;
}

/**
 * Where the files of a file system device are: this and no more. A host folder is one, the memory of the process
 * another. `N` is what the tree knows of a file (an inode), `F` what it knows of one that is open; both are its own
 * objects, which the device hands back and never looks into.
 *
 * Every operation may answer at once or by a promise, as it likes. It fails by throwing, or rejecting with, an
 * `FsError`; anything else is told to the owner of the device, and the guest reads EIO. Operations that are absent
 * cannot be done, and the guest is told so in the way that makes it stop asking.
 *
 * The device keeps its guest honest: a name that comes here is 1 to 255 bytes long and is not `.` or `..`, has no `/`
 * and no NUL; offsets and lengths are whole numbers from 0 to 2^53 − 1; an open file belongs to its node. Everything
 * else (types, permissions, loops, what a name stands for meanwhile) is for the tree to check. A read-only tree is
 * asked for nothing that changes it.
 *
 * Names and link targets are strings. Linux has them as bytes: what is UTF-8 is the text it means, and each byte that
 * is not stands as half of a surrogate pair, U+DC80 to U+DCFF. `encodeName` and `decodeName` go to and fro.
 */
export interface FileTree<N extends object = object, F extends OpenFile = OpenFile> {
  readonly root: N;
  /** Refuses every change with EROFS, before the tree is asked; false unless told. */
  readonly readOnly?: boolean;
  /**
   * True when `read` and `write` are done when they return: they may then be given guest memory itself. Otherwise they
   * return a promise and are given buffers that are theirs until it settles.
   */
  readonly immediate: boolean;
  readonly cache?: CacheRules;
  /** The tree clears set-user-ID and set-group-ID when it is told to; otherwise the guest does, at a cost. */
  readonly killsPrivileges?: boolean;

  /** Finds a name in a directory; `undefined` where there is none. */
  lookup(directory: N, name: string, caller: Caller): Eventually<Entry<N> | undefined>;
  /**
   * Gives back uses of a node. When all are, nothing refers to it any more: neither names that a guest remembers nor files
   * that it has open. The root is in use always.
   */
  forget?(node: N, uses: number): void;

  /** `file` is one of the node's that is open, where the guest names one. */
  attributes(node: N, file: F | undefined): Eventually<Attributes>;
  /** Answers the attributes as they are afterwards. */
  setAttributes?(
    node: N,
    changes: AttributeChanges,
    file: F | undefined,
    caller: Caller,
  ): Eventually<Attributes>;
  readLink?(node: N): Eventually<string>;

  /** `mode` has the type: a regular file, a FIFO, a socket, a device. What is made belongs to the caller. */
  makeNode?(directory: N, name: string, mode: number, rdev: number, caller: Caller): Eventually<Entry<N>>;
  makeDirectory?(directory: N, name: string, mode: number, caller: Caller): Eventually<Entry<N>>;
  symlink?(directory: N, name: string, target: string, caller: Caller): Eventually<Entry<N>>;
  link?(node: N, directory: N, name: string, caller: Caller): Eventually<Entry<N>>;
  unlink?(directory: N, name: string, caller: Caller): Eventually<void>;
  removeDirectory?(directory: N, name: string, caller: Caller): Eventually<void>;
  rename?(
    directory: N,
    name: string,
    newDirectory: N,
    newName: string,
    rule: RenameRule,
    caller: Caller,
  ): Eventually<void>;

  /**
   * `flags` are those of `openFlag`, and others as the guest's architecture has them: O_TRUNC cuts the file; O_CREAT and
   * O_EXCL are never among them.
   */
  open(node: N, flags: number, caller: Caller): Eventually<F>;
  /** Makes a file that is not there and opens it; opens the one that is, unless O_EXCL is among the flags. */
  create?(directory: N, name: string, mode: number, flags: number, caller: Caller): Eventually<Created<N, F>>;
  /** A file without a name. */
  temporary?(directory: N, mode: number, flags: number, caller: Caller): Eventually<Created<N, F>>;
  /**
   * Fills `targets` one after the other from `offset`; answers how many bytes there were, fewer only at the end of the
   * file. A tree that is immediate answers `undefined` where it would have to wait for a disk: `readLater` does.
   */
  read(file: F, offset: number, targets: readonly Uint8Array[]): Eventually<number | undefined>;
  /** As `read`, for a tree that is immediate, of what takes its time; `target` is its own until the promise settles. */
  readLater?(file: F, offset: number, target: Uint8Array): Promise<number>;
  /** Stores `sources` one after the other; at the end of a file opened with O_APPEND, wherever `offset` is. */
  write?(
    file: F,
    offset: number,
    sources: readonly Uint8Array[],
    killPrivileges: boolean,
  ): Eventually<number>;
  /** A guest's process closed the file, which may be open elsewhere: what fails late can be told now. */
  flush?(file: F): Eventually<void>;
  /** The file, or directory, is not open any more. Its locks are gone already. */
  release?(file: F): Eventually<void>;
  fsync?(file: F, dataOnly: boolean): Eventually<void>;
  allocate?(file: F, offset: number, length: number, how: Allocation): Eventually<void>;
  /** The next data, or hole, at or behind `offset`: ENXIO where there is none. */
  seek?(file: F, offset: number, kind: SeekKind): Eventually<number>;
  /** Answers how many bytes were copied. */
  copyRange?(from: F, fromOffset: number, to: F, toOffset: number, length: number): Eventually<number>;

  openDirectory(node: N, caller: Caller): Eventually<F>;
  /** Gives the entries from an offset, 0 or one that the sink was given before, until the sink is full or all are. */
  readDirectory(file: F, offset: number, sink: DirectorySink): Eventually<void>;
  syncDirectory?(file: F, dataOnly: boolean): Eventually<void>;

  statistics?(node: N): Eventually<TreeStatistics>;
  /** Makes everything stable. */
  syncAll?(node: N): Eventually<void>;
  /** `mask`: 4 to read, 2 to write, 1 to execute; EACCES when not allowed. Absent: the guest judges by the mode. */
  access?(node: N, mask: number, caller: Caller): Eventually<void>;

  /** `undefined` where there is no attribute of that name. Names have 1 to 255 bytes, values at most 64 KiB. */
  getXattr?(node: N, name: string): Eventually<Uint8Array | undefined>;
  listXattrs?(node: N): Eventually<readonly string[]>;
  /** EEXIST when it is to be made and is there, ENODATA when it is to be replaced and is not. */
  setXattr?(
    node: N,
    name: string,
    value: Uint8Array,
    how: { readonly create: boolean; readonly replace: boolean; readonly killGroup: boolean },
    caller: Caller,
  ): Eventually<void>;
  removeXattr?(node: N, name: string, caller: Caller): Eventually<void>;

  /**
   * The lock that is in the way of one; `undefined` when none is. Where locks are absent the guest keeps its own, which
   * nobody else sees.
   */
  findLock?(file: F, lock: FileLock): Eventually<FileLock | undefined>;
  /**
   * Takes or gives back a lock. When another is in the way it fails with EAGAIN, unless the guest is ready to wait: then it
   * answers when it has the lock, or fails with EINTR when that is interrupted.
   */
  setLock?(file: F, lock: FileLock, wait: Interruption | undefined): Eventually<void>;

  /**
   * What `restoreNode` finds the node again by, in this process or the next: for snapshots, which cannot be made of a
   * device whose tree has no such thing. A node that is not found again is stale to the guest.
   */
  saveNode?(node: N): Json;
  restoreNode?(state: Json): N | undefined;
}
