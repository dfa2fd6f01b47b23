import { UsageError } from '../../errors.ts';
import { encodeUtf8 } from '../../spec/utf8.ts';
import { FileBytes } from './file-bytes.ts';
import type {
  Allocation,
  AttributeChanges,
  CacheRules,
  Caller,
  Created,
  DirectorySink,
  FileLock,
  FileTree,
  Interruption,
  RenameRule,
  SeekKind,
  TreeStatistics,
} from './file-tree.ts';
import { LockTable } from './locks.ts';
import { Inode, type Link, MemoryFile } from './memory-inode.ts';
import { type ErrnoName, FsError } from './spec-errno.ts';
import { fileType, longestName, modeBit, openFlag } from './spec-fuse.ts';

/** How files in memory are kept. */
export interface MemoryFilesOptions {
  /** Bytes of data, names and attributes in all: 1 GiB unless told. More fail with ENOSPC. */
  readonly capacity?: number;
  /** Files, directories and links in all: 2^20 unless told. */
  readonly files?: number;
  /** Locks in all: 65,536 unless told. */
  readonly locks?: number;
  /** What a guest may keep: names and attributes for a second, and what it read until the next open, unless told. */
  readonly cache?: CacheRules;
  readonly readOnly?: boolean;
  /** Milliseconds since 1970: `Date.now` unless told. */
  readonly now?: () => number;
}

/** About what a file takes beside its data. */
const inodeRoom = 256;

/** Seconds after which a time of access is set anew, though the file has not changed since. */
const day = 86_400;

const { MASK, DIRECTORY, REGULAR, SYMLINK, CHARACTER } = fileType;

const fail = (code: ErrnoName): never => {
  throw FsError.of(code);
};

/**
 * Files in the memory of this process, complete: links of both kinds, extended attributes, holes, locks, modes and
 * times. Any number of devices may share one. What stands in it can be seen and changed by path, too.
 */
export class MemoryFiles implements FileTree<Inode, MemoryFile> {
  readonly immediate = true;
  readonly killsPrivileges = true;
  readonly readOnly: boolean;
  readonly cache: CacheRules;
  readonly root: Inode;
  readonly #capacity: number;
  readonly #mostFiles: number;
  readonly #locks: LockTable;
  readonly #now: () => number;
  readonly #inodes = new Map<number, Inode>();
  /** Files without a name that may be given one. */
  readonly #temporary = new WeakSet<Inode>();
  #room = 0;
  #nextIno = 1;
  /** Counts names; `.` and `..` stand before all others in a listing. */
  #nextOrder = 3;

  constructor(options: MemoryFilesOptions = {}) {
    this.#capacity = options.capacity ?? 2 ** 30;
    this.#mostFiles = options.files ?? 2 ** 20;
    this.#locks = new LockTable(options.locks);
    this.#now = options.now ?? Date.now;
    this.cache = options.cache ?? {};
    this.readOnly = options.readOnly ?? false;
    this.root = this.#make(DIRECTORY | 0o755);
  }

  lookup(directory: Inode, name: string): Inode | undefined {
    const link = namesOf(directory).get(name);
    return link === undefined ? undefined : used(link.inode);
  }

  forget(node: Inode, uses: number): void {
    node.uses -= uses;
    this.#letGo(node);
  }

  attributes(node: Inode): Inode {
    return node;
  }

  setAttributes(node: Inode, changes: AttributeChanges): Inode {
    const { size } = changes;
    if (size !== undefined) {
      if (node.names !== undefined) fail('EISDIR');
      (node.data ?? fail('EINVAL')).setSize(size);
      node.touch(this.#now(), true);
    }
    node.change(changes, this.#now());
    return node;
  }

  readLink(node: Inode): string {
    return node.target ?? fail('EINVAL');
  }

  makeNode(directory: Inode, name: string, mode: number, rdev: number, caller: Caller): Inode {
    return used(this.#add(directory, name, mode, caller, { rdev }));
  }

  makeDirectory(directory: Inode, name: string, mode: number, caller: Caller): Inode {
    return used(this.#add(directory, name, DIRECTORY | mode, caller, {}));
  }

  symlink(directory: Inode, name: string, target: string, caller: Caller): Inode {
    return used(this.#add(directory, name, SYMLINK | 0o777, caller, { target }));
  }

  link(node: Inode, directory: Inode, name: string): Inode {
    if (node.names !== undefined) fail('EPERM');
    // A file without a name can be given one; one that was unlinked cannot.
    if (node.nlink === 0 && !this.#temporary.has(node)) fail('ENOENT');
    this.#checkFree(directory, name);
    this.#temporary.delete(node);
    this.#put(directory, name, node);
    node.nlink++;
    node.touch(this.#now(), false);
    return used(node);
  }

  unlink(directory: Inode, name: string): void {
    const { inode } = namesOf(directory).get(name) ?? fail('ENOENT');
    if (inode.names !== undefined) fail('EISDIR');
    this.#take(directory, name);
    this.#unlinked(inode);
  }

  removeDirectory(directory: Inode, name: string): void {
    const { inode } = namesOf(directory).get(name) ?? fail('ENOENT');
    if (namesOf(inode).size > 0) fail('ENOTEMPTY');
    this.#take(directory, name);
    directory.nlink--;
    this.#unlinked(inode);
  }

  rename(from: Inode, name: string, to: Inode, newName: string, rule: RenameRule, caller: Caller): void {
    const { inode } = namesOf(from).get(name) ?? fail('ENOENT');
    const there = namesOf(to).get(newName)?.inode;
    if (from.nlink === 0 || to.nlink === 0) fail('ENOENT');
    if (rule.exchange) {
      this.#exchange(from, name, inode, to, newName, there ?? fail('ENOENT'));
      return;
    }
    if (there !== undefined && rule.noreplace) fail('EEXIST');
    // Two names of one file: nothing happens, by POSIX.
    if (there === inode) return;
    if (inode.names !== undefined) checkNotWithin(to, inode);
    if (there !== undefined) {
      if (inode.names === undefined && there.names !== undefined) fail('EISDIR');
      if (inode.names !== undefined && namesOf(there).size > 0) fail('ENOTEMPTY');
      this.#take(to, newName);
      if (there.names !== undefined) to.nlink--;
    }
    this.#take(from, name);
    this.#put(to, newName, inode);
    if (inode.names !== undefined) {
      from.nlink--;
      to.nlink++;
      inode.parent = to;
    }
    inode.touch(this.#now(), false);
    if (there !== undefined) this.#unlinked(there);
    if (rule.whiteout) this.#add(from, name, CHARACTER, caller, { rdev: 0 });
  }

  open(node: Inode, flags: number): MemoryFile {
    if (node.names !== undefined) fail('EISDIR');
    if (node.kind === SYMLINK) fail('ELOOP');
    if ((flags & openFlag.TRUNC) !== 0 && node.data !== undefined) {
      node.data.setSize(0);
      node.touch(this.#now(), true);
    }
    return new MemoryFile(node, (flags & openFlag.APPEND) !== 0);
  }

  create(
    directory: Inode,
    name: string,
    mode: number,
    flags: number,
    caller: Caller,
  ): Created<Inode, MemoryFile> {
    const there = namesOf(directory).get(name)?.inode;
    if (there !== undefined && (flags & openFlag.EXCL) !== 0) fail('EEXIST');
    const inode = there ?? this.#add(directory, name, mode, caller, {});
    const file = this.open(inode, flags);
    return { entry: used(inode), file };
  }

  temporary(directory: Inode, mode: number, flags: number, caller: Caller): Created<Inode, MemoryFile> {
    namesOf(directory);
    const inode = this.#make(mode);
    inode.give(directory, caller);
    inode.nlink = 0;
    if ((flags & openFlag.EXCL) === 0) this.#temporary.add(inode);
    return { entry: used(inode), file: new MemoryFile(inode, false) };
  }

  read(file: MemoryFile, offset: number, targets: readonly Uint8Array[]): number {
    const data = file.inode.data ?? fail('EINVAL');
    let at = offset;
    for (const target of targets) {
      const count = data.read(at, target);
      at += count;
      if (count < target.length) break;
    }
    this.#accessed(file.inode);
    return at - offset;
  }

  write(file: MemoryFile, offset: number, sources: readonly Uint8Array[], kill: boolean): number {
    const { inode } = file;
    const data = inode.data ?? fail('EINVAL');
    const from = file.appends ? data.size : offset;
    let at = from;
    try {
      for (const source of sources) {
        data.write(at, source);
        at += source.length;
      }
    } catch (error) {
      // What was written before room ran out counts.
      if (at === from) throw error;
    }
    if (kill) inode.killPrivileges();
    inode.touch(this.#now(), true);
    return at - from;
  }

  release(file: MemoryFile): void {
    file.inode.open--;
    this.#letGo(file.inode);
  }

  flush(): void {}

  fsync(): void {}

  allocate({ inode }: MemoryFile, offset: number, length: number, { kind, keepSize }: Allocation): void {
    const data = inode.data ?? fail('ENODEV');
    const end = offset + length;
    if (kind === 'collapse' || kind === 'insert') fail('EOPNOTSUPP');
    if (kind === 'punch' || kind === 'zero') data.clear(offset, Math.min(end, data.size));
    if (kind !== 'punch') {
      if (length > this.#capacity) fail('ENOSPC');
      data.allocate(offset, end);
      if (!keepSize && end > data.size) data.setSize(end);
    }
    inode.touch(this.#now(), true);
  }

  seek({ inode }: MemoryFile, offset: number, kind: SeekKind): number {
    return (inode.data ?? fail('EINVAL')).seek(offset, kind) ?? fail('ENXIO');
  }

  copyRange(from: MemoryFile, fromOffset: number, to: MemoryFile, toOffset: number, length: number): number {
    const source = from.inode.data ?? fail('EINVAL');
    const target = to.inode.data ?? fail('EINVAL');
    // As much as is copied in one turn; the guest asks for the rest.
    const wanted = Math.max(0, Math.min(length, source.size - fromOffset, 16 * 2 ** 20));
    const overlaps = fromOffset < toOffset + wanted && toOffset < fromOffset + wanted;
    if (source === target && overlaps) fail('EINVAL');
    const piece = new Uint8Array(Math.min(wanted, 65_536));
    let done = 0;
    try {
      while (done < wanted) {
        const part = piece.subarray(0, Math.min(piece.length, wanted - done));
        source.read(fromOffset + done, part);
        target.write(toOffset + done, part);
        done += part.length;
      }
    } catch (error) {
      if (done === 0) throw error;
    }
    if (done > 0) to.inode.touch(this.#now(), true);
    this.#accessed(from.inode);
    return done;
  }

  openDirectory(node: Inode): MemoryFile {
    namesOf(node);
    return new MemoryFile(node, false);
  }

  readDirectory(file: MemoryFile, offset: number, sink: DirectorySink): void {
    const { inode } = file;
    const type = DIRECTORY >> 12;
    if (offset < 1 && !sink.add('.', inode.ino, type, 1)) return;
    if (offset < 2 && !sink.add('..', inode.parent.ino, type, 2)) return;
    const names = namesOf(inode);
    let at = Math.max(offset, 2);
    const kept = file.listing?.offset === at ? file.listing : undefined;
    const rest = kept?.rest ?? names.entries();
    for (let ahead = kept?.ahead; ; ahead = undefined) {
      if (ahead === undefined) {
        const next = rest.next();
        if (next.done === true) break;
        ahead = next.value;
      }
      const [name, link] = ahead;
      // It came before, or is gone since it was looked at.
      if (link.order <= at || names.get(name) !== link) continue;
      if (!sink.add(name, link.inode.ino, link.inode.mode >> 12, link.order)) {
        file.listing = { offset: at, rest, ahead };
        return;
      }
      at = link.order;
    }
    // Names that are made later come behind: an iterator that has ended would not see them.
    file.listing = undefined;
    this.#accessed(inode);
  }

  syncDirectory(): void {}

  syncAll(): void {}

  statistics(): TreeStatistics {
    const bsize = 4096;
    const free = Math.max(0, Math.floor((this.#capacity - this.#room) / bsize));
    const ffree = Math.max(0, this.#mostFiles - this.#inodes.size);
    return {
      blocks: Math.floor(this.#capacity / bsize),
      bfree: free,
      bavail: free,
      files: this.#mostFiles,
      ffree,
      bsize,
      frsize: bsize,
      namelen: longestName,
    };
  }

  getXattr(node: Inode, name: string): Uint8Array | undefined {
    return node.xattrs?.get(name);
  }

  listXattrs(node: Inode): readonly string[] {
    return [...(node.xattrs?.keys() ?? [])];
  }

  setXattr(
    node: Inode,
    name: string,
    value: Uint8Array,
    how: { readonly create: boolean; readonly replace: boolean; readonly killGroup: boolean },
  ): void {
    const before = node.xattrs?.get(name);
    if (before !== undefined && how.create) fail('EEXIST');
    if (before === undefined && how.replace) fail('ENODATA');
    this.#claim(value.length - (before?.length ?? 0) + (before === undefined ? name.length + inodeRoom : 0));
    node.xattrs ??= new Map();
    node.xattrs.set(name, value.slice());
    if (how.killGroup) node.mode &= ~modeBit.SETGID;
    node.touch(this.#now(), false);
  }

  removeXattr(node: Inode, name: string): void {
    const before = node.xattrs?.get(name) ?? fail('ENODATA');
    node.xattrs?.delete(name);
    this.#claim(-(before.length + name.length + inodeRoom));
    node.touch(this.#now(), false);
  }

  findLock({ inode }: MemoryFile, lock: FileLock): FileLock | undefined {
    return this.#locks.find(inode, lock);
  }

  setLock({ inode }: MemoryFile, lock: FileLock, wait: Interruption | undefined): void | Promise<void> {
    return this.#locks.set(inode, lock, wait);
  }

  saveNode(node: Inode): number {
    return node.ino;
  }

  restoreNode(state: unknown): Inode | undefined {
    const inode = this.#inodes.get(Number(state));
    return inode === undefined ? undefined : used(inode);
  }

  /** Locks that are held and waited for. */
  get lockCount(): number {
    return this.#locks.size;
  }

  /** Files, directories and links that there are, those without a name that are still in use among them. */
  get fileCount(): number {
    return this.#inodes.size;
  }

  /** Bytes in use. */
  get usedBytes(): number {
    return this.#room;
  }

  /**
   * Writes a file by its path, and makes the directories on the way.
   *
   * @throws {FsError} as the guest would read it.
   */
  writeFile(path: string, content: Uint8Array | string, mode = 0o644): void {
    const names = partsOf(path);
    const name = names.pop() ?? fail('EISDIR');
    const directory = this.#walk(names, true);
    const there = namesOf(directory).get(name)?.inode;
    const inode = there ?? this.#add(directory, name, REGULAR | mode, nobody, {});
    const data = inode.data ?? fail(inode.names === undefined ? 'EINVAL' : 'EISDIR');
    data.setSize(0);
    data.write(0, typeof content === 'string' ? encodeUtf8(content) : content);
    inode.touch(this.#now(), true);
  }

  /** @throws {FsError} ENOENT, ENOTDIR, EISDIR. */
  readFile(path: string): Uint8Array<ArrayBuffer> {
    const inode = this.#walk(partsOf(path), false);
    const data = inode.data ?? fail(inode.names === undefined ? 'EINVAL' : 'EISDIR');
    const content = new Uint8Array(data.size);
    data.read(0, content);
    return content;
  }

  /** The names in a directory, in the order in which they were made. */
  list(path = '/'): string[] {
    return [...namesOf(this.#walk(partsOf(path), false)).keys()];
  }

  /** What `stat` tells of a path; links are not followed. A copy. */
  stat(path: string): Readonly<Pick<Inode, 'ino' | 'mode' | 'nlink' | 'uid' | 'gid' | 'size' | 'mtime'>> {
    const { ino, mode, nlink, uid, gid, size, mtime } = this.#walk(partsOf(path), false);
    return { ino, mode, nlink, uid, gid, size, mtime };
  }

  /** Removes a file, or a directory and all in it. */
  remove(path: string): void {
    const names = partsOf(path);
    const name = names.pop() ?? fail('EBUSY');
    this.#removeAll(this.#walk(names, false), name);
  }

  #removeAll(directory: Inode, name: string): void {
    const { inode } = namesOf(directory).get(name) ?? fail('ENOENT');
    if (inode.names === undefined) {
      this.unlink(directory, name);
      return;
    }
    for (const within of [...inode.names.keys()]) this.#removeAll(inode, within);
    this.removeDirectory(directory, name);
  }

  #walk(names: readonly string[], make: boolean): Inode {
    let inode = this.root;
    for (const name of names) {
      const next = namesOf(inode).get(name)?.inode;
      if (next === undefined && !make) fail('ENOENT');
      inode = next ?? this.#add(inode, name, DIRECTORY | 0o755, nobody, {});
    }
    return inode;
  }

  #exchange(from: Inode, name: string, inode: Inode, to: Inode, newName: string, there: Inode): void {
    if (inode === there) return;
    if (inode.names !== undefined) checkNotWithin(to, inode);
    if (there.names !== undefined) checkNotWithin(from, there);
    this.#take(from, name);
    this.#take(to, newName);
    this.#put(to, newName, inode);
    this.#put(from, name, there);
    const moves = (moved: Inode, out: Inode, into: Inode): void => {
      if (moved.names === undefined) return;
      out.nlink--;
      into.nlink++;
      moved.parent = into;
    };
    moves(inode, from, to);
    moves(there, to, from);
    inode.touch(this.#now(), false);
    there.touch(this.#now(), false);
  }

  #add(
    directory: Inode,
    name: string,
    mode: number,
    caller: Caller,
    what: { readonly rdev?: number; readonly target?: string },
  ): Inode {
    this.#checkFree(directory, name);
    const inode = this.#make(mode, what.target);
    inode.give(directory, caller);
    inode.rdev = what.rdev ?? 0;
    if (inode.names !== undefined) {
      inode.parent = directory;
      directory.nlink++;
    }
    this.#put(directory, name, inode);
    return inode;
  }

  #make(mode: number, target?: string): Inode {
    if (this.#inodes.size >= this.#mostFiles) fail('ENOSPC');
    this.#claim(inodeRoom + (target?.length ?? 0));
    const isRegular = (mode & MASK) === REGULAR;
    const data = isRegular ? new FileBytes((bytes) => this.#claim(bytes)) : undefined;
    const inode = new Inode(this.#nextIno++, mode, data, target);
    this.#inodes.set(inode.ino, inode);
    inode.born(this.#now());
    return inode;
  }

  /** @throws {FsError} EEXIST, ENOENT in a directory that was removed. */
  #checkFree(directory: Inode, name: string): void {
    if (namesOf(directory).has(name)) fail('EEXIST');
    if (directory.nlink === 0) fail('ENOENT');
    this.#claim(inodeRoom + name.length);
    this.#claim(-(inodeRoom + name.length));
  }

  #put(directory: Inode, name: string, inode: Inode): void {
    this.#claim(inodeRoom + name.length);
    const link: Link = { inode, order: this.#nextOrder++ };
    namesOf(directory).set(name, link);
    directory.touch(this.#now(), true);
  }

  #take(directory: Inode, name: string): void {
    namesOf(directory).delete(name);
    this.#claim(-(inodeRoom + name.length));
    directory.touch(this.#now(), true);
  }

  #unlinked(inode: Inode): void {
    // A directory has no other name than the one in its parent.
    inode.nlink = inode.names === undefined ? inode.nlink - 1 : 0;
    inode.touch(this.#now(), false);
    this.#letGo(inode);
  }

  /** Frees what nothing refers to. */
  #letGo(inode: Inode): void {
    if (inode.nlink > 0 || inode.uses > 0 || inode.open > 0) return;
    if (!this.#inodes.delete(inode.ino)) return;
    inode.data?.setSize(0);
    const xattrs = [...(inode.xattrs ?? [])].reduce(
      (sum, [name, { length }]) => sum + name.length + length + inodeRoom,
      0,
    );
    this.#claim(-(inodeRoom + (inode.target?.length ?? 0) + xattrs));
  }

  /** @throws {FsError} ENOSPC when there is no more room. */
  #claim(bytes: number): void {
    if (bytes > 0 && this.#room + bytes > this.#capacity) fail('ENOSPC');
    this.#room += bytes;
  }

  /** Like a disk mounted `relatime`: not more often than anybody could want to know. */
  #accessed(inode: Inode): void {
    if (this.readOnly) return;
    const seconds = Math.floor(this.#now() / 1000);
    const isFresh = inode.atime > inode.mtime && inode.atime > inode.ctime && seconds - inode.atime < day;
    if (isFresh) return;
    inode.atime = seconds;
    inode.atimensec = 0;
  }
}

/** Makes an empty tree of files in memory. */
export function memoryFiles(options: MemoryFilesOptions = {}): MemoryFiles {
  return new MemoryFiles(options);
}

const nobody: Caller = { uid: 0, gid: 0, pid: 0 };

function used(inode: Inode): Inode {
  inode.uses++;
  return inode;
}

/** The names in a directory. */
function namesOf(inode: Inode): Map<string, Link> {
  return inode.names ?? fail('ENOTDIR');
}

/** @throws {FsError} EINVAL when a directory would come to lie in itself. */
function checkNotWithin(directory: Inode, moved: Inode): void {
  for (let at = directory; ; at = at.parent) {
    if (at === moved) fail('EINVAL');
    if (at.parent === at) return;
  }
}

function partsOf(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  if (parts.some((part) => part === '.' || part === '..')) {
    throw new UsageError('BAD_ARGUMENT', `${path}: give a path without . and ..`);
  }
  return parts;
}
