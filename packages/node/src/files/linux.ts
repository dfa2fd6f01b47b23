import { constants } from 'node:fs';
import { HostError } from 'virtio/errors';
import { type FolderCalls, folderCalls } from '../ffi/folder-calls.ts';

/** Processors on which the structures of these calls lie in one way, all of them little-endian. */
const processors = ['x64', 'arm64', 'riscv64', 'loong64'];

/**
 * What a folder is shared by.
 *
 * @throws {HostError} IO_ERROR where there is no Linux of 64 bits.
 */
export function linux(): FolderCalls {
  if (process.platform === 'linux' && processors.includes(process.arch)) return folderCalls();
  throw new HostError(
    'IO_ERROR',
    `folders are shared from Linux on a 64-bit processor; this is ${process.platform} on ${process.arch}`,
  );
}

/** Of open(2). Those that Node knows differ between processors. */
export const O = {
  WRONLY: 1,
  RDWR: 2,
  ACCMODE: 3,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  DIRECTORY: constants.O_DIRECTORY,
  NOFOLLOW: constants.O_NOFOLLOW,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
  TMPFILE: 0o20000000 | constants.O_DIRECTORY,
} as const;

export const AT = {
  FDCWD: -100,
  SYMLINK_NOFOLLOW: 0x100,
  REMOVEDIR: 0x200,
  SYMLINK_FOLLOW: 0x400,
  EMPTY_PATH: 0x1000,
} as const;

/** The types of files, in a mode. */
export const S = {
  IFMT: 0o170000,
  IFIFO: 0o010000,
  IFDIR: 0o040000,
  IFREG: 0o100000,
  IFLNK: 0o120000,
  IFSOCK: 0o140000,
  ISUID: 0o4000,
  ISGID: 0o2000,
  IXGRP: 0o010,
} as const;
