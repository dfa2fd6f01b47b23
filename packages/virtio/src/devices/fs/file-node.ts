import type { Caller, Entry } from './file-tree.ts';
import type { AttributeChanges, Attributes, FileTime } from './spec-attributes.ts';
import { fileType, modeBit } from './spec-fuse.ts';

/**
 * A file, for trees that keep what they know of theirs in memory. It is its own attributes and its own entry, so that telling
 * of it costs no object. Times are given in milliseconds since 1970.
 */
export abstract class FileNode implements Attributes, Entry<FileNode> {
  readonly ino: number;
  mode: number;
  nlink = 1;
  uid = 0;
  gid = 0;
  rdev = 0;
  readonly blksize = 4096;
  atime = 0;
  atimensec = 0;
  mtime = 0;
  mtimensec = 0;
  ctime = 0;
  ctimensec = 0;
  btime = 0;
  btimensec = 0;

  constructor(ino: number, mode: number) {
    this.ino = ino;
    this.mode = mode;
  }

  abstract get size(): number;
  abstract get blocks(): number;

  get node(): this {
    return this;
  }

  get attributes(): this {
    return this;
  }

  /** One of {@link fileType}. */
  get kind(): number {
    return this.mode & fileType.MASK;
  }

  /** It has just been made. */
  born(now: number): void {
    this.touch(now, true);
    this.atime = this.btime = this.ctime;
    this.atimensec = this.btimensec = this.ctimensec;
  }

  /** It changed: `ctime`, and for its content `mtime` too. */
  touch(now: number, content: boolean): void {
    const seconds = Math.floor(now / 1000);
    this.ctime = seconds;
    this.ctimensec = nanoseconds(now, seconds);
    if (!content) return;
    this.mtime = seconds;
    this.mtimensec = this.ctimensec;
  }

  /** Changes everything but its size. */
  change(changes: AttributeChanges, now: number): void {
    const { mode, uid, gid, atime, mtime, ctime, killPrivileges = false } = changes;
    if (killPrivileges) this.killPrivileges();
    if (mode !== undefined) this.mode = this.kind | mode;
    if (uid !== undefined) this.uid = uid;
    if (gid !== undefined) this.gid = gid;
    if (atime !== undefined) [this.atime, this.atimensec] = given(atime, now);
    if (mtime !== undefined) [this.mtime, this.mtimensec] = given(mtime, now);
    [this.ctime, this.ctimensec] = given(ctime ?? 'now', now);
  }

  /** Clears what would let others run the file as its owner. */
  killPrivileges(): void {
    if (this.kind !== fileType.REGULAR) return;
    this.mode &= ~modeBit.SETUID;
    if ((this.mode & 0o010) !== 0) this.mode &= ~modeBit.SETGID;
  }

  /** Whose it is, when `caller` makes it in a directory: that directory's group where it says so. */
  give(directory: FileNode, { uid, gid }: Pick<Caller, 'uid' | 'gid'>): void {
    const inherits = (directory.mode & modeBit.SETGID) !== 0;
    this.uid = uid;
    this.gid = inherits ? directory.gid : gid;
    if (inherits && this.kind === fileType.DIRECTORY) this.mode |= modeBit.SETGID;
  }
}

const nanoseconds = (milliseconds: number, seconds: number): number =>
  Math.floor((milliseconds - seconds * 1000) * 1e6);

function given(time: FileTime, now: number): [seconds: number, nanoseconds: number] {
  if (time !== 'now') return [time.seconds, time.nanoseconds];
  const seconds = Math.floor(now / 1000);
  return [seconds, nanoseconds(now, seconds)];
}
