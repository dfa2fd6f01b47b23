import { type Fields, type Struct, struct, tail, u8 } from '../../spec/layout.ts';
import { int32, int64, uint16, uint32, uint64, uint64Exact } from './spec-fuse-codecs.ts';

/** FUSE's own structures, by its own names. Every one is a whole number of 8 bytes but where it says otherwise. */

/* @__NO_SIDE_EFFECTS__ */
const declare = <const F extends Fields>(name: string, fields: F): Struct<F> => struct(name, fields);

/** What every request begins with. */
export const fuse_in_header = declare('fuse_in_header', {
  /** Bytes of the request, this header included. */
  len: uint32,
  opcode: uint32,
  unique: uint64Exact,
  nodeid: uint64,
  uid: uint32,
  gid: uint32,
  pid: uint32,
  /** Of extensions at the request's end, in units of 8 bytes. */
  total_extlen: uint16,
  padding: uint16,
});

/** What every answer begins with. */
export const fuse_out_header = declare('fuse_out_header', {
  /** Bytes of the answer, this header included. */
  len: uint32,
  /** 0, or a negated errno; of a notification, its code. */
  error: int32,
  unique: uint64Exact,
});

export const fuse_attr = declare('fuse_attr', {
  ino: uint64,
  size: uint64,
  blocks: uint64,
  atime: int64,
  mtime: int64,
  ctime: int64,
  atimensec: uint32,
  mtimensec: uint32,
  ctimensec: uint32,
  mode: uint32,
  nlink: uint32,
  uid: uint32,
  gid: uint32,
  rdev: uint32,
  blksize: uint32,
  flags: uint32,
});

export const fuse_sx_time = declare('fuse_sx_time', { tv_sec: int64, tv_nsec: uint32, __reserved: int32 });

export const fuse_statx = declare('fuse_statx', {
  mask: uint32,
  blksize: uint32,
  attributes: uint64,
  nlink: uint32,
  uid: uint32,
  gid: uint32,
  mode: uint16,
  __spare0: uint16,
  ino: uint64,
  size: uint64,
  blocks: uint64,
  attributes_mask: uint64,
  atime: fuse_sx_time,
  btime: fuse_sx_time,
  ctime: fuse_sx_time,
  mtime: fuse_sx_time,
  rdev_major: uint32,
  rdev_minor: uint32,
  dev_major: uint32,
  dev_minor: uint32,
  __spare2: struct('spare', Object.fromEntries(Array.from({ length: 14 }, (_, i) => [`word${i}`, uint64]))),
});

export const fuse_kstatfs = declare('fuse_kstatfs', {
  blocks: uint64,
  bfree: uint64,
  bavail: uint64,
  files: uint64,
  ffree: uint64,
  bsize: uint32,
  namelen: uint32,
  frsize: uint32,
  padding: uint32,
  spare: struct('spare', { a: uint64, b: uint64, c: uint64 }),
});

export const fuse_file_lock = declare('fuse_file_lock', {
  start: uint64,
  /** The last byte; 2^63 − 1 for the end of the file. */
  end: uint64,
  type: uint32,
  pid: uint32,
});

export const fuse_entry_out = declare('fuse_entry_out', {
  /** 0 for a name that stands for nothing. */
  nodeid: uint64,
  generation: uint64,
  entry_valid: uint64,
  attr_valid: uint64,
  entry_valid_nsec: uint32,
  attr_valid_nsec: uint32,
  attr: fuse_attr,
});

export const fuse_forget_in = declare('fuse_forget_in', { nlookup: uint64 });
export const fuse_forget_one = declare('fuse_forget_one', { nodeid: uint64, nlookup: uint64 });
export const fuse_batch_forget_in = declare('fuse_batch_forget_in', { count: uint32, dummy: uint32 });

export const fuse_getattr_in = declare('fuse_getattr_in', {
  getattr_flags: uint32,
  dummy: uint32,
  fh: uint64,
});
export const fuse_attr_out = declare('fuse_attr_out', {
  attr_valid: uint64,
  attr_valid_nsec: uint32,
  dummy: uint32,
  attr: fuse_attr,
});

export const fuse_statx_in = declare('fuse_statx_in', {
  getattr_flags: uint32,
  reserved: uint32,
  fh: uint64,
  sx_flags: uint32,
  sx_mask: uint32,
});
export const fuse_statx_out = declare('fuse_statx_out', {
  attr_valid: uint64,
  attr_valid_nsec: uint32,
  flags: uint32,
  spare: struct('spare', { a: uint64, b: uint64 }),
  stat: fuse_statx,
});

export const fuse_mknod_in = declare('fuse_mknod_in', {
  mode: uint32,
  rdev: uint32,
  umask: uint32,
  padding: uint32,
});
export const fuse_mkdir_in = declare('fuse_mkdir_in', { mode: uint32, umask: uint32 });
export const fuse_rename_in = declare('fuse_rename_in', { newdir: uint64 });
export const fuse_rename2_in = declare('fuse_rename2_in', { newdir: uint64, flags: uint32, padding: uint32 });
export const fuse_link_in = declare('fuse_link_in', { oldnodeid: uint64 });

export const fuse_setattr_in = declare('fuse_setattr_in', {
  valid: uint32,
  padding: uint32,
  fh: uint64,
  size: uint64,
  lock_owner: uint64Exact,
  atime: int64,
  mtime: int64,
  ctime: int64,
  atimensec: uint32,
  mtimensec: uint32,
  ctimensec: uint32,
  mode: uint32,
  unused4: uint32,
  uid: uint32,
  gid: uint32,
  unused5: uint32,
});

export const fuse_open_in = declare('fuse_open_in', { flags: uint32, open_flags: uint32 });
export const fuse_create_in = declare('fuse_create_in', {
  flags: uint32,
  mode: uint32,
  umask: uint32,
  open_flags: uint32,
});
export const fuse_open_out = declare('fuse_open_out', { fh: uint64, open_flags: uint32, backing_id: int32 });
export const fuse_create_out = declare('fuse_create_out', { entry: fuse_entry_out, open: fuse_open_out });

export const fuse_release_in = declare('fuse_release_in', {
  fh: uint64,
  flags: uint32,
  release_flags: uint32,
  lock_owner: uint64Exact,
});
export const fuse_flush_in = declare('fuse_flush_in', {
  fh: uint64,
  unused: uint32,
  padding: uint32,
  lock_owner: uint64Exact,
});

export const fuse_read_in = declare('fuse_read_in', {
  fh: uint64,
  offset: uint64,
  size: uint32,
  read_flags: uint32,
  lock_owner: uint64Exact,
  flags: uint32,
  padding: uint32,
});
export const fuse_write_in = declare('fuse_write_in', {
  fh: uint64,
  offset: uint64,
  size: uint32,
  write_flags: uint32,
  lock_owner: uint64Exact,
  flags: uint32,
  padding: uint32,
});
export const fuse_write_out = declare('fuse_write_out', { size: uint32, padding: uint32 });

export const fuse_statfs_out = declare('fuse_statfs_out', { st: fuse_kstatfs });
export const fuse_fsync_in = declare('fuse_fsync_in', { fh: uint64, fsync_flags: uint32, padding: uint32 });

/** Before SETXATTR_EXT the first two fields are all of it. */
export const fuse_setxattr_in = declare('fuse_setxattr_in', {
  size: uint32,
  flags: uint32,
  setxattr_flags: uint32,
  padding: uint32,
});
export const fuse_getxattr_in = declare('fuse_getxattr_in', { size: uint32, padding: uint32 });
export const fuse_getxattr_out = declare('fuse_getxattr_out', { size: uint32, padding: uint32 });

export const fuse_lk_in = declare('fuse_lk_in', {
  fh: uint64,
  owner: uint64Exact,
  lk: fuse_file_lock,
  lk_flags: uint32,
  padding: uint32,
});
export const fuse_lk_out = declare('fuse_lk_out', { lk: fuse_file_lock });

export const fuse_access_in = declare('fuse_access_in', { mask: uint32, padding: uint32 });

/** Before INIT_EXT the first four fields are all of it. */
export const fuse_init_in = declare('fuse_init_in', {
  major: uint32,
  minor: uint32,
  max_readahead: uint32,
  flags: uint32,
  flags2: uint32,
  unused: struct('unused', Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`word${i}`, uint32]))),
});
export const fuse_init_out = declare('fuse_init_out', {
  major: uint32,
  minor: uint32,
  max_readahead: uint32,
  flags: uint32,
  max_background: uint16,
  congestion_threshold: uint16,
  /** Bytes of data in a WRITE at most. */
  max_write: uint32,
  /** Nanoseconds: how fine times are. */
  time_gran: uint32,
  /** Pages of data in a request at most. */
  max_pages: uint16,
  /** The power of two that mappings are aligned to. */
  map_alignment: uint16,
  flags2: uint32,
  max_stack_depth: uint32,
  request_timeout: uint16,
  unused: struct('unused', Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`word${i}`, uint16]))),
});

export const fuse_interrupt_in = declare('fuse_interrupt_in', { unique: uint64Exact });
export const fuse_bmap_in = declare('fuse_bmap_in', { block: uint64, blocksize: uint32, padding: uint32 });
export const fuse_bmap_out = declare('fuse_bmap_out', { block: uint64 });

export const fuse_ioctl_in = declare('fuse_ioctl_in', {
  fh: uint64,
  flags: uint32,
  cmd: uint32,
  arg: uint64Exact,
  in_size: uint32,
  out_size: uint32,
});
export const fuse_ioctl_iovec = declare('fuse_ioctl_iovec', { base: uint64Exact, len: uint64 });
export const fuse_ioctl_out = declare('fuse_ioctl_out', {
  result: int32,
  flags: uint32,
  in_iovs: uint32,
  out_iovs: uint32,
});

export const fuse_poll_in = declare('fuse_poll_in', {
  fh: uint64,
  kh: uint64Exact,
  flags: uint32,
  events: uint32,
});
export const fuse_poll_out = declare('fuse_poll_out', { revents: uint32, padding: uint32 });

export const fuse_fallocate_in = declare('fuse_fallocate_in', {
  fh: uint64,
  offset: uint64,
  length: uint64,
  mode: uint32,
  padding: uint32,
});

/** A name follows, filled up with zeroes to a multiple of 8 bytes. */
export const fuse_dirent = declare('fuse_dirent', {
  ino: uint64,
  off: uint64,
  namelen: uint32,
  type: uint32,
  name: tail(u8),
});
export const fuse_direntplus = declare('fuse_direntplus', { entry_out: fuse_entry_out, dirent: fuse_dirent });

export const fuse_lseek_in = declare('fuse_lseek_in', {
  fh: uint64,
  offset: uint64,
  whence: uint32,
  padding: uint32,
});
export const fuse_lseek_out = declare('fuse_lseek_out', { offset: uint64 });

export const fuse_copy_file_range_in = declare('fuse_copy_file_range_in', {
  fh_in: uint64,
  off_in: uint64,
  nodeid_out: uint64,
  fh_out: uint64,
  off_out: uint64,
  len: uint64,
  flags: uint64,
});
export const fuse_copy_file_range_out = declare('fuse_copy_file_range_out', { bytes_copied: uint64 });

export const fuse_setupmapping_in = declare('fuse_setupmapping_in', {
  fh: uint64,
  foffset: uint64,
  len: uint64,
  flags: uint64,
  moffset: uint64,
});
/** Four bytes alone, and `fuse_removemapping_one` right behind them. */
export const fuse_removemapping_in = declare('fuse_removemapping_in', { count: uint32 });
export const fuse_removemapping_one = declare('fuse_removemapping_one', { moffset: uint64, len: uint64 });

export const fuse_syncfs_in = declare('fuse_syncfs_in', { padding: uint64 });

export const fuse_ext_header = declare('fuse_ext_header', { size: uint32, type: uint32 });
export const fuse_supp_groups = declare('fuse_supp_groups', { nr_groups: uint32, groups: tail(uint32) });
export const fuse_secctx_header = declare('fuse_secctx_header', { size: uint32, nr_secctx: uint32 });
export const fuse_secctx = declare('fuse_secctx', { size: uint32, padding: uint32 });

export const fuse_notify_poll_wakeup_out = declare('fuse_notify_poll_wakeup_out', { kh: uint64Exact });
export const fuse_notify_inval_inode_out = declare('fuse_notify_inval_inode_out', {
  ino: uint64,
  off: int64,
  len: int64,
});
/** A name follows, with a NUL behind it; after `fuse_notify_delete_out` too. */
export const fuse_notify_inval_entry_out = declare('fuse_notify_inval_entry_out', {
  parent: uint64,
  namelen: uint32,
  flags: uint32,
});
export const fuse_notify_delete_out = declare('fuse_notify_delete_out', {
  parent: uint64,
  child: uint64,
  namelen: uint32,
  padding: uint32,
});
export const fuse_notify_store_out = declare('fuse_notify_store_out', {
  nodeid: uint64,
  offset: uint64,
  size: uint32,
  padding: uint32,
});
export const fuse_notify_retrieve_out = declare('fuse_notify_retrieve_out', {
  notify_unique: uint64Exact,
  nodeid: uint64,
  offset: uint64,
  size: uint32,
  padding: uint32,
});
