import { foreignLibrary } from './koffi.ts';

/**
 * What a folder of Linux is shared by: calls that begin at a descriptor and name at most one thing below it. Each gives
 * what the call gives, or minus the errno of its failure. Names are bytes that end in a zero; times, offsets and lengths
 * are numbers below 2^53.
 */
export interface FolderCalls {
  open(folder: number, name: Uint8Array, flags: number, mode: number): number;
  /** `openat2`; `how` is a `struct open_how`. Minus ENOSYS before Linux 5.6, and where a container forbids it. */
  openHow(folder: number, name: Uint8Array, how: Uint8Array): number;
  close(fd: number): number;
  /** `target` is a `struct statx`. */
  statx(folder: number, name: Uint8Array, flags: number, mask: number, target: Uint8Array): number;
  /** `target` is a `struct statfs`. */
  fstatfs(fd: number, target: Uint8Array): number;
  makeFolder(folder: number, name: Uint8Array, mode: number): number;
  makeNode(folder: number, name: Uint8Array, mode: number, device: number): number;
  symlink(target: Uint8Array, folder: number, name: Uint8Array): number;
  readlink(folder: number, name: Uint8Array, target: Uint8Array, length: number): number;
  link(oldFolder: number, oldName: Uint8Array, newFolder: number, newName: Uint8Array, flags: number): number;
  unlink(folder: number, name: Uint8Array, flags: number): number;
  rename(
    oldFolder: number,
    oldName: Uint8Array,
    newFolder: number,
    newName: Uint8Array,
    flags: number,
  ): number;
  chmod(folder: number, name: Uint8Array, mode: number): number;
  chown(folder: number, name: Uint8Array, uid: number, gid: number, flags: number): number;
  /** `times` is two `struct timespec`. */
  setTimes(folder: number, name: Uint8Array, times: Uint8Array, flags: number): number;
  truncate(fd: number, length: number): number;
  allocate(fd: number, mode: number, offset: number, length: number): number;
  /** An offset may be any number of 63 bits: some file systems' places in a directory are. */
  seek(fd: number, offset: number | bigint, whence: number): number | bigint;
  /** `source` and `target` hold an offset of 64 bits each, which moves. */
  copyRange(
    from: number,
    source: Uint8Array,
    to: number,
    target: Uint8Array,
    length: number,
    flags: number,
  ): number;
  /** `vector` is an array of `struct iovec`. */
  readVector(fd: number, vector: Uint8Array, count: number, offset: number, flags: number): number;
  writeVector(fd: number, vector: Uint8Array, count: number, offset: number, flags: number): number;
  /** Fills `target` with `struct linux_dirent64` from where the descriptor stands; 0 at the end. */
  entries(fd: number, target: Uint8Array, length: number): number;
  /** Of a path. */
  getXattr(path: Uint8Array, name: Uint8Array, value: Uint8Array, length: number): number;
  setXattr(path: Uint8Array, name: Uint8Array, value: Uint8Array, length: number, flags: number): number;
  listXattr(path: Uint8Array, list: Uint8Array, length: number): number;
  removeXattr(path: Uint8Array, name: Uint8Array): number;
  flock(fd: number, operation: number): number;
  /** `lock` is a `struct flock`. */
  lock(fd: number, command: number, lock: Uint8Array): number;
  /** `handle` is a `struct file_handle`, `mount` gets the id of its mount. */
  handleOf(folder: number, name: Uint8Array, handle: Uint8Array, mount: Int32Array, flags: number): number;
  openHandle(mount: number, handle: Uint8Array, flags: number): number;
  /** `limit` is a `struct rlimit`: how many descriptors this process may have, now and at most. */
  getDescriptorLimit(limit: Uint8Array): number;
  setDescriptorLimit(limit: Uint8Array): number;
  /** In another thread: it takes as long as the disk does. */
  syncfs(fd: number): Promise<number>;
  /** The address of a buffer's first byte. */
  addressOf(buffer: ArrayBuffer): bigint;
}

/** The same on every architecture. */
const openat2 = 437;
/** Of getrlimit(2). */
const RLIMIT_NOFILE = 7;

let loaded: FolderCalls | undefined;

/** The calls, declared at their first use. Linux of 64 bits alone. */
export function folderCalls(): FolderCalls {
  loaded ??= load();
  return loaded;
}

function load(): FolderCalls {
  const { declare, koffi, libc } = foreignLibrary();
  const syncfs = libc.func('int syncfs(int fd)');
  const openHow = declare(
    'int64_t syscall(int64_t number, int folder, const void *name, void *how, size_t size)',
  );
  const getrlimit = declare('int getrlimit(int resource, void *limit)');
  const setrlimit = declare('int setrlimit(int resource, const void *limit)');
  return {
    open: declare('int openat(int folder, const void *name, int flags, uint32_t mode)'),
    openHow: (folder, name, how) => openHow(openat2, folder, name, how, how.length),
    close: declare('int close(int fd)'),
    statx: declare('int statx(int folder, const void *name, int flags, uint32_t mask, void *target)'),
    fstatfs: declare('int fstatfs(int fd, void *target)'),
    makeFolder: declare('int mkdirat(int folder, const void *name, uint32_t mode)'),
    makeNode: declare('int mknodat(int folder, const void *name, uint32_t mode, uint64_t device)'),
    symlink: declare('int symlinkat(const void *target, int folder, const void *name)'),
    readlink: declare('int64_t readlinkat(int folder, const void *name, void *target, size_t length)'),
    link: declare(
      'int linkat(int oldFolder, const void *oldName, int newFolder, const void *newName, int flags)',
    ),
    unlink: declare('int unlinkat(int folder, const void *name, int flags)'),
    rename: declare(
      'int renameat2(int oldFolder, const void *oldName, int newFolder, const void *newName, uint32_t flags)',
    ),
    chmod: plainly(declare('int fchmodat(int folder, const void *name, uint32_t mode, int flags)')),
    chown: declare('int fchownat(int folder, const void *name, uint32_t uid, uint32_t gid, int flags)'),
    setTimes: declare('int utimensat(int folder, const void *name, const void *times, int flags)'),
    truncate: declare('int ftruncate(int fd, int64_t length)'),
    allocate: declare('int fallocate(int fd, int mode, int64_t offset, int64_t length)'),
    seek: declare('int64_t lseek(int fd, int64_t offset, int whence)'),
    copyRange: declare(
      'int64_t copy_file_range(int from, void *source, int to, void *target, size_t length, uint32_t flags)',
    ),
    readVector: declare('int64_t preadv2(int fd, const void *vector, int count, int64_t offset, int flags)'),
    writeVector: declare(
      'int64_t pwritev2(int fd, const void *vector, int count, int64_t offset, int flags)',
    ),
    entries: declare('int64_t getdents64(int fd, void *target, size_t length)'),
    getXattr: declare('int64_t getxattr(const void *path, const void *name, void *value, size_t length)'),
    setXattr: declare(
      'int setxattr(const void *path, const void *name, const void *value, size_t length, int flags)',
    ),
    listXattr: declare('int64_t listxattr(const void *path, void *list, size_t length)'),
    removeXattr: declare('int removexattr(const void *path, const void *name)'),
    flock: declare('int flock(int fd, int operation)'),
    lock: declare('int fcntl(int fd, int command, void *lock)'),
    handleOf: declare(
      'int name_to_handle_at(int folder, const void *name, void *handle, void *mount, int flags)',
    ),
    openHandle: declare('int open_by_handle_at(int mount, void *handle, int flags)'),
    getDescriptorLimit: (limit) => getrlimit(RLIMIT_NOFILE, limit),
    setDescriptorLimit: (limit) => setrlimit(RLIMIT_NOFILE, limit),
    syncfs(fd) {
      return new Promise((resolve, reject) => {
        syncfs.async(fd, (error: Error | null, result: number) => {
          if (error) reject(error);
          else resolve(result < 0 ? -koffi.errno() : result);
        });
      });
    },
    addressOf: (buffer) => koffi.address(buffer),
  };
}

function plainly(
  call: (folder: number, name: Uint8Array, mode: number, flags: number) => number,
): FolderCalls['chmod'] {
  return (folder, name, mode) => call(folder, name, mode, 0);
}
