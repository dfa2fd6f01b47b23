import type { Fields, Struct } from '../../spec/layout.ts';
import { type FuseOpcodeName, fuseOpcode } from './spec-fuse.ts';
import * as fuse from './spec-fuse-structs.ts';

/** What one kind of request is made of. */
export interface RequestForm {
  /** What stands behind the header; absent where nothing does. */
  readonly in?: Struct<Fields>;
  /** Bytes of it that older drivers send; all, unless told. */
  readonly least?: number;
  /** How many names, each with a NUL behind it, follow. */
  readonly names?: number;
  /** More bytes follow: data, an attribute's value, a list. */
  readonly data?: true;
  /** What an answer without an error begins with behind the header; absent where nothing does. */
  readonly out?: Struct<Fields>;
  /** It changes the file system, whatever its arguments are. */
  readonly changes?: true;
  /** It goes to the high priority queue. */
  readonly priority?: true;
  /** No answer is given. */
  readonly silent?: true;
}

const { fuse_entry_out: entry, fuse_attr_out: attr, fuse_open_out: open } = fuse;

/** Every request of the protocol. A list is `count` structures of its own kind, and the data of a READ is all its answer. */
export const fuseRequests: Readonly<Record<FuseOpcodeName, RequestForm>> = Object.freeze({
  LOOKUP: { names: 1, out: entry },
  FORGET: { in: fuse.fuse_forget_in, priority: true, silent: true },
  GETATTR: { in: fuse.fuse_getattr_in, out: attr },
  SETATTR: { in: fuse.fuse_setattr_in, out: attr, changes: true },
  READLINK: {},
  SYMLINK: { names: 2, out: entry, changes: true },
  MKNOD: { in: fuse.fuse_mknod_in, names: 1, out: entry, changes: true },
  MKDIR: { in: fuse.fuse_mkdir_in, names: 1, out: entry, changes: true },
  UNLINK: { names: 1, changes: true },
  RMDIR: { names: 1, changes: true },
  RENAME: { in: fuse.fuse_rename_in, names: 2, changes: true },
  LINK: { in: fuse.fuse_link_in, names: 1, out: entry, changes: true },
  OPEN: { in: fuse.fuse_open_in, out: open },
  READ: { in: fuse.fuse_read_in },
  WRITE: { in: fuse.fuse_write_in, data: true, out: fuse.fuse_write_out, changes: true },
  STATFS: { out: fuse.fuse_statfs_out },
  RELEASE: { in: fuse.fuse_release_in },
  FSYNC: { in: fuse.fuse_fsync_in },
  SETXATTR: { in: fuse.fuse_setxattr_in, least: 8, names: 1, data: true, changes: true },
  GETXATTR: { in: fuse.fuse_getxattr_in, names: 1 },
  LISTXATTR: { in: fuse.fuse_getxattr_in },
  REMOVEXATTR: { names: 1, changes: true },
  FLUSH: { in: fuse.fuse_flush_in },
  INIT: { in: fuse.fuse_init_in, least: 16, out: fuse.fuse_init_out },
  OPENDIR: { in: fuse.fuse_open_in, out: open },
  READDIR: { in: fuse.fuse_read_in },
  RELEASEDIR: { in: fuse.fuse_release_in },
  FSYNCDIR: { in: fuse.fuse_fsync_in },
  GETLK: { in: fuse.fuse_lk_in, out: fuse.fuse_lk_out },
  SETLK: { in: fuse.fuse_lk_in },
  SETLKW: { in: fuse.fuse_lk_in },
  ACCESS: { in: fuse.fuse_access_in },
  CREATE: { in: fuse.fuse_create_in, names: 1, out: fuse.fuse_create_out, changes: true },
  INTERRUPT: { in: fuse.fuse_interrupt_in, priority: true, silent: true },
  BMAP: { in: fuse.fuse_bmap_in, out: fuse.fuse_bmap_out },
  DESTROY: {},
  IOCTL: { in: fuse.fuse_ioctl_in, data: true, out: fuse.fuse_ioctl_out },
  POLL: { in: fuse.fuse_poll_in, out: fuse.fuse_poll_out },
  NOTIFY_REPLY: { in: fuse.fuse_write_in, data: true, silent: true },
  BATCH_FORGET: { in: fuse.fuse_batch_forget_in, data: true, priority: true, silent: true },
  FALLOCATE: { in: fuse.fuse_fallocate_in, changes: true },
  READDIRPLUS: { in: fuse.fuse_read_in },
  RENAME2: { in: fuse.fuse_rename2_in, names: 2, changes: true },
  LSEEK: { in: fuse.fuse_lseek_in, out: fuse.fuse_lseek_out },
  COPY_FILE_RANGE: { in: fuse.fuse_copy_file_range_in, out: fuse.fuse_write_out, changes: true },
  SETUPMAPPING: { in: fuse.fuse_setupmapping_in },
  REMOVEMAPPING: { in: fuse.fuse_removemapping_in, data: true },
  SYNCFS: { in: fuse.fuse_syncfs_in },
  TMPFILE: { in: fuse.fuse_create_in, names: 1, out: fuse.fuse_create_out, changes: true },
  STATX: { in: fuse.fuse_statx_in, out: fuse.fuse_statx_out },
  COPY_FILE_RANGE_64: {
    in: fuse.fuse_copy_file_range_in,
    out: fuse.fuse_copy_file_range_out,
    changes: true,
  },
} as const satisfies Record<FuseOpcodeName, RequestForm>);

// The keys of the table are its names.
const names = Object.entries(fuseOpcode) as [FuseOpcodeName, number][];
const namesByOpcode = new Map(names.map(([name, opcode]) => [opcode, name]));

/** The name of an opcode; `undefined` for one that is not known. */
export const opcodeName = (opcode: number): FuseOpcodeName | undefined => namesByOpcode.get(opcode);
