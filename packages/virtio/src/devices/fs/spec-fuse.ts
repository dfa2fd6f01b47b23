/** The version of FUSE that is spoken here. */
export const fuseVersion = Object.freeze({ major: 7, minor: 45 } as const);

/** The oldest minor version that a session is begun with: no driver of a file system device speaks an older one. */
export const oldestMinor = 27;

/** The node of the file system's root. */
export const rootNode = 1;

/** What a request is for. */
export const fuseOpcode = Object.freeze({
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const);

/** The name of a kind of request. */
export type FuseOpcodeName = keyof typeof fuseOpcode;

/** INIT in the byte order of the other kind of guest: how that is told. */
export const initSwapped = 0x1a00_0000;

/** What both sides can do, in `flags` of INIT; bits from 32 on are in `flags2`, and here counted on. */
export const initFlag = Object.freeze({
  /** Reads of one file may be under way at once. */
  ASYNC_READ: 0,
  /** Locks of ranges are the server's. */
  POSIX_LOCKS: 1,
  FILE_OPS: 2,
  /** OPEN cuts the file when O_TRUNC says so. */
  ATOMIC_O_TRUNC: 3,
  /** The server finds `.` and `..`. */
  EXPORT_SUPPORT: 4,
  /** Writes may be longer than a page. */
  BIG_WRITES: 5,
  /** The server applies the umask. */
  DONT_MASK: 6,
  SPLICE_WRITE: 7,
  SPLICE_MOVE: 8,
  SPLICE_READ: 9,
  /** Locks of whole files are the server's. */
  FLOCK_LOCKS: 10,
  HAS_IOCTL_DIR: 11,
  /** The driver lets go of data that it kept when size or time say that it is old. */
  AUTO_INVAL_DATA: 12,
  /** READDIRPLUS is understood. */
  DO_READDIRPLUS: 13,
  /** The driver chooses between READDIR and READDIRPLUS. */
  READDIRPLUS_AUTO: 14,
  /** Direct reads and writes of one file may be under way at once. */
  ASYNC_DIO: 15,
  /** The driver holds writes back. */
  WRITEBACK_CACHE: 16,
  NO_OPEN_SUPPORT: 17,
  /** One directory may be looked up in and read at once. */
  PARALLEL_DIROPS: 18,
  HANDLE_KILLPRIV: 19,
  POSIX_ACL: 20,
  ABORT_ERROR: 21,
  /** `max_pages` counts. */
  MAX_PAGES: 22,
  /** The driver keeps where symbolic links point to. */
  CACHE_SYMLINKS: 23,
  NO_OPENDIR_SUPPORT: 24,
  EXPLICIT_INVAL_DATA: 25,
  /** `map_alignment` counts. */
  MAP_ALIGNMENT: 26,
  /** The root of another file system within this one is shown as a mount. */
  SUBMOUNTS: 27,
  /** The server clears set-user-ID and set-group-ID when it is told to. */
  HANDLE_KILLPRIV_V2: 28,
  /** SETXATTR has the longer structure. */
  SETXATTR_EXT: 29,
  /** `flags2` counts. */
  INIT_EXT: 30,
  INIT_RESERVED: 31,
  SECURITY_CTX: 32,
  HAS_INODE_DAX: 33,
  CREATE_SUPP_GROUP: 34,
  /** An entry can be made to expire instead of being dropped. */
  HAS_EXPIRE_ONLY: 35,
  /** Files of direct I/O can be mapped. */
  DIRECT_IO_ALLOW_MMAP: 36,
  PASSTHROUGH: 37,
  /** The server finds no `.` and `..`. */
  NO_EXPORT_SUPPORT: 38,
  HAS_RESEND: 39,
  ALLOW_IDMAP: 40,
  OVER_IO_URING: 41,
  REQUEST_TIMEOUT: 42,
} as const);

/** The name of something that INIT negotiates. */
export type InitFlagName = keyof typeof initFlag;

/** Of the flags of INIT those from `first` on, 32 of them, as one word. */
export const initWord = (flags: readonly number[], first: number): number =>
  flags.reduce(
    (word, flag) => (flag >= first && flag < first + 32 ? word | (1 << (flag - first)) : word),
    0,
  ) >>> 0;

/** `valid` of SETATTR: which fields count. */
export const setattrValid = Object.freeze({
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  LOCKOWNER: 1 << 9,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const);

/** `open_flags` of an answer to OPEN: how the driver uses the file. */
export const openReply = Object.freeze({
  DIRECT_IO: 1 << 0,
  KEEP_CACHE: 1 << 1,
  NONSEEKABLE: 1 << 2,
  CACHE_DIR: 1 << 3,
  STREAM: 1 << 4,
  NOFLUSH: 1 << 5,
  PARALLEL_DIRECT_WRITES: 1 << 6,
  PASSTHROUGH: 1 << 7,
} as const);

/** `flags` of OPEN and CREATE, as `open` has them: those that have one number on all architectures of guests. */
export const openFlag = Object.freeze({
  ACCMODE: 0o3,
  RDONLY: 0o0,
  WRONLY: 0o1,
  RDWR: 0o2,
  CREAT: 0o100,
  EXCL: 0o200,
  NOCTTY: 0o400,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
} as const);

/** `open_flags` of OPEN and CREATE. */
export const openRequest = Object.freeze({ KILL_SUIDGID: 1 << 0 } as const);

export const getattrFlag = Object.freeze({ FH: 1 << 0 } as const);
export const readFlag = Object.freeze({ LOCKOWNER: 1 << 1 } as const);
export const releaseFlag = Object.freeze({ FLUSH: 1 << 0, FLOCK_UNLOCK: 1 << 1 } as const);
export const lockFlag = Object.freeze({ FLOCK: 1 << 0 } as const);
export const fsyncFlag = Object.freeze({ FDATASYNC: 1 << 0 } as const);
export const setxattrFlag = Object.freeze({ ACL_KILL_SGID: 1 << 0 } as const);

export const writeFlag = Object.freeze({
  /** The driver writes back what it held: `fh` is a guess. */
  CACHE: 1 << 0,
  LOCKOWNER: 1 << 1,
  KILL_SUIDGID: 1 << 2,
} as const);

/** `flags` of SETXATTR. */
export const xattrFlag = Object.freeze({ CREATE: 1, REPLACE: 2 } as const);

/** `flags` of RENAME2. */
export const renameFlag = Object.freeze({ NOREPLACE: 1 << 0, EXCHANGE: 1 << 1, WHITEOUT: 1 << 2 } as const);

/** `mode` of FALLOCATE. */
export const fallocateFlag = Object.freeze({
  KEEP_SIZE: 0x01,
  PUNCH_HOLE: 0x02,
  COLLAPSE_RANGE: 0x08,
  ZERO_RANGE: 0x10,
  INSERT_RANGE: 0x20,
  UNSHARE_RANGE: 0x40,
} as const);

/** `whence` of LSEEK. */
export const seekWhence = Object.freeze({ SET: 0, CUR: 1, END: 2, DATA: 3, HOLE: 4 } as const);

/** `type` of a lock. */
export const lockType = Object.freeze({ RDLCK: 0, WRLCK: 1, UNLCK: 2 } as const);

/** `flags` of a file's attributes. */
export const attrFlag = Object.freeze({ SUBMOUNT: 1 << 0, DAX: 1 << 1 } as const);

/** `flags` of SETUPMAPPING. */
export const mappingFlag = Object.freeze({ WRITE: 1 << 0, READ: 1 << 1 } as const);

/** What the server tells without being asked: in place of the error, where `unique` is 0. */
export const notifyCode = Object.freeze({
  POLL: 1,
  INVAL_INODE: 2,
  INVAL_ENTRY: 3,
  STORE: 4,
  RETRIEVE: 5,
  DELETE: 6,
  RESEND: 7,
  INC_EPOCH: 8,
} as const);

/** `flags` of INVAL_ENTRY. */
export const invalEntryFlag = Object.freeze({ EXPIRE_ONLY: 1 << 0 } as const);

/** The upper bits of a mode: what kind of file it is. */
export const fileType = Object.freeze({
  MASK: 0o170_000,
  FIFO: 0o010_000,
  CHARACTER: 0o020_000,
  DIRECTORY: 0o040_000,
  BLOCK: 0o060_000,
  REGULAR: 0o100_000,
  SYMLINK: 0o120_000,
  SOCKET: 0o140_000,
} as const);

/** The lower bits that are more than permissions. */
export const modeBit = Object.freeze({ SETUID: 0o4000, SETGID: 0o2000, STICKY: 0o1000 } as const);

/** `sx_mask` of STATX, and `mask` of its answer. */
export const statxMask = Object.freeze({ BASIC_STATS: 0x7ff, BTIME: 0x800 } as const);

/** The most bytes of a file's name, of a link's target with its NUL, and of an extended attribute's value. */
export const longestName = 255;
export const longestPath = 4096;
export const longestXattr = 65_536;
