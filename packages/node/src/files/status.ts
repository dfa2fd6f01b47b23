import type { Attributes } from 'virtio/devices/fs';
import type { FolderCalls } from '../ffi/folder-calls.ts';
import { AT } from './linux.ts';
import { noName } from './names.ts';

/** The basic fields, the time when it was made, and the mount that it is on. */
const mask = 0x7ff | 0x800 | 0x1000;
const hasBirth = 0x800;
const hasMount = 0x1000;

/** `struct statx`. */
const buffer = new ArrayBuffer(256);
const bytes = new Uint8Array(buffer);
const words = new Uint32Array(buffer);
const halves = new Uint16Array(buffer);
const signed = new Int32Array(buffer);

/** Places in it, in units of 32 bits. */
const at = {
  mask: 0,
  blksize: 1,
  nlink: 4,
  uid: 5,
  gid: 6,
  ino: 8,
  size: 10,
  blocks: 12,
  atime: 16,
  btime: 20,
  ctime: 24,
  mtime: 28,
  rdevMajor: 32,
  rdevMinor: 33,
  devMajor: 34,
  devMinor: 35,
  mount: 36,
} as const;

/** What a file is and where, as Linux told last. There is one of it, filled anew with each {@link readStatus}. */
class Status {
  get mode(): number {
    return halves[14]!;
  }
  get uid(): number {
    return words[at.uid]!;
  }
  get gid(): number {
    return words[at.gid]!;
  }
  /** The lower 53 bits of it: the rest a number cannot hold, and no common file system uses. */
  get ino(): number {
    return (words[at.ino + 1]! & 0x1f_ffff) * 2 ** 32 + words[at.ino]!;
  }
  get device(): number {
    return words[at.devMajor]! * 2 ** 20 + words[at.devMinor]!;
  }
  /** 0 where Linux does not tell, which is before 5.8. */
  get mount(): number {
    return (words[at.mask]! & hasMount) !== 0 ? words[at.mount]! : 0;
  }
  get nlink(): number {
    return words[at.nlink]!;
  }
  get size(): number {
    return wide(at.size);
  }
}

/** What {@link readStatus} read. */
export const status: Readonly<Status> = new Status();

/** Reads what a descriptor stands for into {@link status}; gives 0, or minus an errno. */
export function readStatus(calls: FolderCalls, fd: number): number {
  return calls.statx(fd, noName, AT.EMPTY_PATH, mask, bytes);
}

/** Attributes that can be filled in again and again. */
export type OwnAttributes = { -readonly [Name in keyof Attributes]: Attributes[Name] };

/** Attributes without a value. */
export function emptyAttributes(): OwnAttributes {
  return {
    ...{ ino: 0, mode: 0, nlink: 0, uid: 0, gid: 0, rdev: 0, size: 0, blocks: 0, blksize: 0 },
    ...{ atime: 0, atimensec: 0, mtime: 0, mtimensec: 0, ctime: 0, ctimensec: 0 },
    ...{ btime: undefined, btimensec: undefined, submount: false },
  };
}

/** Copies {@link status}; the ids are still the host's. */
export function fillAttributes(target: OwnAttributes): void {
  target.ino = status.ino;
  target.mode = halves[14]!;
  target.nlink = words[at.nlink]!;
  target.uid = words[at.uid]!;
  target.gid = words[at.gid]!;
  target.rdev = encodeDevice(words[at.rdevMajor]!, words[at.rdevMinor]!);
  target.size = wide(at.size);
  target.blocks = wide(at.blocks);
  target.blksize = words[at.blksize]!;
  target.atime = wide(at.atime);
  target.atimensec = words[at.atime + 2]!;
  target.mtime = wide(at.mtime);
  target.mtimensec = words[at.mtime + 2]!;
  target.ctime = wide(at.ctime);
  target.ctimensec = words[at.ctime + 2]!;
  const born = (words[at.mask]! & hasBirth) !== 0;
  target.btime = born ? wide(at.btime) : undefined;
  target.btimensec = born ? words[at.btime + 2]! : undefined;
}

/** A number of 64 bits, whose upper half has the sign. */
function wide(place: number): number {
  return signed[place + 1]! * 2 ** 32 + words[place]!;
}

/** As Linux hands a device's number to programs in 32 bits. */
function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12)) >>> 0;
}
