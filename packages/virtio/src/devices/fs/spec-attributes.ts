/**
 * What a file is, as `stat` tells it. Sizes, counts and inode numbers are whole numbers below 2^53; a time is seconds
 * since 1970, which may be negative, and nanoseconds after them.
 *
 * An object that is answered at once is read before the tree is called again, so a tree may fill in the same one
 * every time, or hand out the one it lives by. One that a promise gives belongs to its taker.
 */
export interface Attributes {
  readonly ino: number;
  /** Type and permissions: `S_IFREG | 0o644`. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  /** Of a device node: as Linux encodes it for user space in 32 bits. */
  readonly rdev: number;
  /** Bytes. */
  readonly size: number;
  /** In units of 512 bytes. */
  readonly blocks: number;
  /** Bytes; what transfers had better be a multiple of. */
  readonly blksize: number;
  readonly atime: number;
  readonly atimensec: number;
  readonly mtime: number;
  readonly mtimensec: number;
  readonly ctime: number;
  readonly ctimensec: number;
  /** When it was made, where that is known. */
  readonly btime?: number | undefined;
  readonly btimensec?: number | undefined;
  /** True for the root of what is another file system on the host: the guest shows it as a mount of its own. */
  readonly submount?: boolean | undefined;
}

/** A time that a guest sets: its own, or that of the tree's clock. */
export type FileTime = { readonly seconds: number; readonly nanoseconds: number } | 'now';

/** What is to be changed of a file; what is absent stays. */
export interface AttributeChanges {
  /** Permissions, 12 bits: the type never changes. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Bytes: cuts or grows. */
  readonly size?: number;
  readonly atime?: FileTime;
  readonly mtime?: FileTime;
  /** Sent with `mtime` by guests that keep times themselves; a tree without a way to set it leaves it. */
  readonly ctime?: FileTime;
  /** Clear set-user-ID, and set-group-ID of a file that its group may execute; for trees that say `killsPrivileges`. */
  readonly killPrivileges?: boolean;
}

/** What a file system has in all; counts below 2^53. */
export interface TreeStatistics {
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
  /** Bytes: of a transfer, and of what blocks are counted in. */
  readonly bsize: number;
  readonly frsize: number;
  /** Bytes in the longest name. */
  readonly namelen: number;
}

/** Where the first data or the first hole is looked for. */
export type SeekKind = 'data' | 'hole';

/** How room is made or taken: the meaning of Linux's `fallocate` and its flags. */
export interface Allocation {
  readonly kind: 'allocate' | 'punch' | 'zero' | 'collapse' | 'insert' | 'unshare';
  readonly keepSize: boolean;
}

/** How two names change places: `exchange` swaps them, `noreplace` fails with EEXIST where the new one is taken. */
export interface RenameRule {
  readonly exchange: boolean;
  readonly noreplace: boolean;
  /** Leaves a whiteout (a character device 0/0) behind: what overlay file systems ask for. */
  readonly whiteout: boolean;
}
