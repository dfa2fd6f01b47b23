import { fdatasync, fsync, read } from 'node:fs';
import { promisify } from 'node:util';
import type { Json } from 'virtio/device';
import {
  type Allocation,
  type AttributeChanges,
  type Attributes,
  type CacheRules,
  type Caller,
  type Created,
  type DataCache,
  type DirectorySink,
  decodeName,
  type Entry,
  type FileLock,
  type FileTime,
  type FileTree,
  FsError,
  type Interruption,
  type RenameRule,
  type SeekKind,
  type TreeStatistics,
} from 'virtio/devices/fs';
import type { FolderCalls } from '../ffi/folder-calls.ts';
import type { Descriptors } from './descriptors.ts';
import { checked, failed } from './failure.ts';
import type { IdMap } from './ids.ts';
import { type Inode, Inodes } from './inodes.ts';
import { AT, O, S } from './linux.ts';
import { Listing } from './listing.ts';
import { Locks } from './locks.ts';
import { areNames, dot, ended, nameBytes, namesWithin, noName, numberName } from './names.ts';
import { SharedFile } from './open-file.ts';
import { Opening } from './opening.ts';
import { emptyAttributes, fillAttributes, readStatus, status } from './status.ts';
import { allocationMode, Transfer } from './transfer.ts';
import { Xattrs } from './xattrs.ts';

/** What a share is, with everything decided. */
export interface FolderRules {
  readonly readOnly: boolean;
  readonly cache: CacheRules;
  /** What guests may do with listings of directories. */
  readonly listings: DataCache;
  readonly users: IdMap;
  readonly groups: IdMap;
  readonly xattrs: boolean;
  readonly locks: boolean;
  readonly mounts: 'refuse' | 'enter';
}

const ENOENT = 2;
const EEXIST = 17;
const RENAME = { NOREPLACE: 1, EXCHANGE: 2 } as const;
const SEEK = { data: 3, hole: 4 } as const;
const keepId = 0xffff_ffff;
const permissions = 0o7777;
const UTIME = { NOW: 0x3fff_ffff, OMIT: 0x3fff_fffe } as const;
/** Bytes in the longest target of a symbolic link. */
const longestTarget = 4096;
/** Flags of an open that the host is told of. Whether it waits for the disk, the guest asks for by fsync. */
const passedFlags = O.ACCMODE | O.APPEND | O.TRUNC;

const linkTarget = new Uint8Array(longestTarget);
const times = new BigInt64Array(4);
const timesBytes = new Uint8Array(times.buffer);
const offsets = [new BigInt64Array(1), new BigInt64Array(1)] as const;
const offsetBytes = [new Uint8Array(offsets[0].buffer), new Uint8Array(offsets[1].buffer)] as const;
const statfs = new BigInt64Array(16);
const statfsBytes = new Uint8Array(statfs.buffer);

const readLater = promisify(read);
const fsyncLater = promisify(fsync);
const fdatasyncLater = promisify(fdatasync);

/** An operation that some trees have. */
type Operation<Name extends keyof FileTree> = NonNullable<FileTree<Inode, SharedFile>[Name]>;

/** The files of a folder of this machine. {@link shareFolder} makes one. */
export class FolderTree implements FileTree<Inode, SharedFile> {
  readonly root: Inode;
  readonly readOnly: boolean;
  readonly immediate = true;
  readonly killsPrivileges = true;
  readonly cache: CacheRules;
  // What is not to be had is not there, so that a guest stops asking.
  readonly getXattr?: Operation<'getXattr'>;
  readonly listXattrs?: Operation<'listXattrs'>;
  readonly setXattr?: Operation<'setXattr'>;
  readonly removeXattr?: Operation<'removeXattr'>;
  readonly findLock?: Operation<'findLock'>;
  readonly setLock?: Operation<'setLock'>;

  readonly #rules: FolderRules;
  readonly #descriptors: Descriptors;
  readonly #calls: FolderCalls;
  readonly #inodes: Inodes;
  readonly #opening: Opening;
  readonly #transfer: Transfer;
  readonly #locks: Locks;
  readonly #files = new Set<SharedFile>();
  readonly #attributes = emptyAttributes();
  readonly #umask = process.umask();
  readonly #ownUser = process.geteuid?.() ?? 0;
  readonly #ownGroup = process.getegid?.() ?? 0;

  /** @param root a descriptor that stands for the folder, which is taken over */
  constructor(descriptors: Descriptors, root: number, rules: FolderRules) {
    this.#rules = rules;
    this.readOnly = rules.readOnly;
    this.cache = rules.cache;
    this.#descriptors = descriptors;
    this.#calls = descriptors.calls;
    this.#opening = new Opening(descriptors, rules.mounts === 'enter', root);
    this.#transfer = new Transfer(this.#calls);
    this.#inodes = new Inodes(descriptors, root);
    this.#locks = new Locks(descriptors, this.#inodes, rules.readOnly);
    this.root = this.#inodes.root;
    if (rules.xattrs) {
      const xattrs = new Xattrs(this.#calls);
      this.getXattr = (node, name) => xattrs.get(this.#fdOf(node), name);
      this.listXattrs = (node) => xattrs.list(this.#fdOf(node));
      this.setXattr = (node, name, value, how) => xattrs.set(this.#fdOf(node), name, value, how);
      this.removeXattr = (node, name) => xattrs.remove(this.#fdOf(node), name);
    }
    if (rules.locks) {
      this.findLock = (file, lock: FileLock) => this.#locks.find(file.inode, lock);
      this.setLock = (file, lock: FileLock, wait: Interruption | undefined) =>
        this.#locks.set(file.inode, lock, wait);
    }
  }

  /** Lets go of everything. The tree is of no more use. */
  close(): void {
    for (const file of this.#files) file.close();
    this.#files.clear();
    this.#locks.close();
    this.#inodes.close();
    this.#descriptors.end();
  }

  lookup(directory: Inode, name: string): Entry<Inode> | undefined {
    const fd = this.#opening.stand(this.#fdOf(directory), nameBytes(name));
    if (fd === -ENOENT) return undefined;
    if (fd < 0) throw failed(fd);
    return this.#entry(this.#enter(directory, fd));
  }

  forget(node: Inode, uses: number): void {
    if (this.#inodes.giveBack(node, uses)) this.#locks.forget(node);
  }

  attributes(node: Inode, file: SharedFile | undefined): Attributes {
    checked(readStatus(this.#calls, file === undefined ? this.#fdOf(node) : file.fd));
    return this.#told(node);
  }

  setAttributes(node: Inode, changes: AttributeChanges, file: SharedFile | undefined): Attributes {
    const fd = this.#fdOf(node);
    const { mode, uid, gid, size, atime, mtime } = changes;
    if (uid !== undefined || gid !== undefined) {
      const user = uid === undefined ? keepId : this.#rules.users.toHost(uid);
      const group = gid === undefined ? keepId : this.#rules.groups.toHost(gid);
      if (user === undefined || group === undefined) throw new FsError('EPERM');
      checked(this.#calls.chown(fd, noName, user, group, AT.EMPTY_PATH));
    }
    if (size !== undefined) this.#resize(node, size, file);
    if (mode !== undefined) this.#changeMode(fd, mode);
    else if (changes.killPrivileges) this.#killPrivileges(fd);
    if (atime !== undefined || mtime !== undefined) {
      putTime(0, atime);
      putTime(2, mtime);
      checked(this.#calls.setTimes(this.#descriptors.links, numberName(fd), timesBytes, 0));
    }
    return this.attributes(node, file);
  }

  readLink(node: Inode): string {
    const length = checked(this.#calls.readlink(this.#fdOf(node), noName, linkTarget, longestTarget));
    return decodeName(linkTarget, 0, length);
  }

  makeNode(directory: Inode, name: string, mode: number, _rdev: number, caller: Caller): Entry<Inode> {
    const type = mode & S.IFMT;
    // A device would be this machine's own.
    if (type !== S.IFREG && type !== S.IFIFO && type !== S.IFSOCK) throw new FsError('EPERM');
    return this.#make(directory, name, mode, caller, (folder, bytes) =>
      this.#calls.makeNode(folder, bytes, mode, 0),
    );
  }

  makeDirectory(directory: Inode, name: string, mode: number, caller: Caller): Entry<Inode> {
    return this.#make(directory, name, mode, caller, (folder, bytes) =>
      this.#calls.makeFolder(folder, bytes, mode & permissions),
    );
  }

  symlink(directory: Inode, name: string, target: string, caller: Caller): Entry<Inode> {
    return this.#make(directory, name, undefined, caller, (folder, bytes) =>
      this.#calls.symlink(ended(target), folder, bytes),
    );
  }

  link(node: Inode, directory: Inode, name: string): Entry<Inode> {
    const folder = this.#fdOf(directory);
    const { links } = this.#descriptors;
    checked(
      this.#calls.link(links, numberName(this.#fdOf(node)), folder, nameBytes(name), AT.SYMLINK_FOLLOW),
    );
    checked(readStatus(this.#calls, this.#fdOf(node)));
    node.uses++;
    return this.#entry(node);
  }

  unlink(directory: Inode, name: string): void {
    checked(this.#calls.unlink(this.#fdOf(directory), nameBytes(name), 0));
  }

  removeDirectory(directory: Inode, name: string): void {
    checked(this.#calls.unlink(this.#fdOf(directory), nameBytes(name), AT.REMOVEDIR));
  }

  rename(directory: Inode, name: string, newDirectory: Inode, newName: string, rule: RenameRule): void {
    // A whiteout is a device.
    if (rule.whiteout) throw new FsError('EINVAL');
    const flags = (rule.noreplace ? RENAME.NOREPLACE : 0) | (rule.exchange ? RENAME.EXCHANGE : 0);
    const from = this.#fdOf(directory);
    const to = this.#fdOf(newDirectory);
    checked(this.#calls.rename(from, nameBytes(name), to, nameBytes(newName, 1), flags));
  }

  open(node: Inode, flags: number): SharedFile {
    // What is behind a device or a FIFO is no file of the folder.
    if (node.type !== S.IFREG) throw new FsError('EACCES');
    const passed = flags & passedFlags;
    if (this.readOnly && (passed & ~O.APPEND) !== 0) throw new FsError('EROFS');
    const fd = checked(this.#descriptors.reopen(this.#fdOf(node), this.#openFlags(passed)));
    return this.#opened(new SharedFile(this.#descriptors, node, fd, { writable: isWritable(passed) }));
  }

  create(
    directory: Inode,
    name: string,
    mode: number,
    flags: number,
    caller: Caller,
  ): Created<Inode, SharedFile> {
    const [user, group] = this.#makers(caller);
    const folder = this.#fdOf(directory);
    const passed = this.#openFlags(flags & passedFlags);
    // What is there already may be a device: it is opened in the way that such things are.
    const fd = this.#opening.open(folder, nameBytes(name), passed | O.CREAT | O.EXCL, mode & permissions);
    if (fd === -EEXIST && (flags & O.EXCL) === 0) {
      const entry = this.lookup(directory, name);
      // It was there just now.
      if (entry === undefined) throw new FsError('ESTALE');
      const file = this.open(entry.node, flags);
      return { entry: { node: entry.node, attributes: this.attributes(entry.node, file) }, file };
    }
    return this.#created(directory, checked(fd), mode, isWritable(passed), user, group);
  }

  temporary(directory: Inode, mode: number, flags: number, caller: Caller): Created<Inode, SharedFile> {
    const [user, group] = this.#makers(caller);
    const passed = this.#openFlags(flags & passedFlags);
    const keepOut = (flags & O.EXCL) !== 0 ? O.EXCL : 0;
    const fd = this.#opening.mustOpen(
      this.#fdOf(directory),
      dot,
      passed | O.TMPFILE | keepOut,
      mode & permissions,
    );
    return this.#created(directory, fd, mode, isWritable(passed), user, group);
  }

  read(file: SharedFile, offset: number, targets: readonly Uint8Array[]): number | undefined {
    return this.#transfer.read(file.fd, offset, targets, file.inode.place);
  }

  readLater(file: SharedFile, offset: number, target: Uint8Array): Promise<number> {
    return file.during((fd) => readOf(fd, offset, target));
  }

  write(file: SharedFile, offset: number, sources: readonly Uint8Array[], killPrivileges: boolean): number {
    if (killPrivileges) this.#killPrivileges(file.fd);
    return this.#transfer.write(file.fd, offset, sources);
  }

  release(file: SharedFile): void {
    if (this.#files.delete(file)) file.close();
  }

  fsync(file: SharedFile, dataOnly: boolean): Promise<void> {
    return file.during((fd) => syncOf(fd, dataOnly));
  }

  allocate(file: SharedFile, offset: number, length: number, { kind, keepSize }: Allocation): void {
    checked(this.#calls.allocate(file.fd, allocationMode(kind, keepSize), offset, length));
  }

  seek(file: SharedFile, offset: number, kind: SeekKind): number {
    return checked(Number(this.#calls.seek(file.fd, offset, SEEK[kind])));
  }

  copyRange(from: SharedFile, fromOffset: number, to: SharedFile, toOffset: number, length: number): number {
    offsets[0][0] = BigInt(fromOffset);
    offsets[1][0] = BigInt(toOffset);
    return checked(this.#calls.copyRange(from.fd, offsetBytes[0], to.fd, offsetBytes[1], length, 0));
  }

  openDirectory(node: Inode): SharedFile {
    if (node.type !== S.IFDIR) throw new FsError('ENOTDIR');
    const fd = checked(this.#descriptors.reopen(this.#fdOf(node), O.DIRECTORY));
    const listing = new Listing(this.#calls, fd, node === this.root);
    const { listings } = this.#rules;
    return this.#opened(new SharedFile(this.#descriptors, node, fd, { listing, dataCache: listings }));
  }

  readDirectory(file: SharedFile, offset: number, sink: DirectorySink): void {
    file.listing?.give(offset, sink);
  }

  syncDirectory(file: SharedFile, dataOnly: boolean): Promise<void> {
    return this.fsync(file, dataOnly);
  }

  statistics(node: Inode): TreeStatistics {
    checked(this.#calls.fstatfs(this.#fdOf(node), statfsBytes));
    // f_type, f_bsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, f_fsid, f_namelen, f_frsize
    const [, bsize, blocks, bfree, bavail, files, ffree, , namelen, frsize] = Array.from(statfs, count);
    const [size = 4096, longest = 255] = [bsize, namelen];
    return {
      ...{
        blocks: blocks ?? 0,
        bfree: bfree ?? 0,
        bavail: bavail ?? 0,
        files: files ?? 0,
        ffree: ffree ?? 0,
      },
      ...{ bsize: size, frsize: frsize || size, namelen: longest },
    };
  }

  async syncAll(node: Inode): Promise<void> {
    const directory = node.type === S.IFDIR ? node : this.root;
    const fd = checked(this.#descriptors.reopen(this.#fdOf(directory), O.DIRECTORY));
    try {
      checked(await this.#calls.syncfs(fd));
    } finally {
      this.#descriptors.close(fd);
    }
  }

  saveNode(node: Inode): Json {
    let fd: number;
    try {
      fd = this.#fdOf(node);
    } catch {
      return null;
    }
    const names = namesWithin(this.#fdOf(this.root), fd);
    return names === undefined ? null : [names, this.#identity(fd)];
  }

  /** Goes by the names, one at a time, and takes what is there for the file if it is the very one. */
  restoreNode(state: Json): Inode | undefined {
    const [names, identity] = Array.isArray(state) ? state : [];
    if (!areNames(names)) return undefined;
    let node = this.root;
    try {
      for (const name of names) {
        const entry = this.lookup(node, name);
        this.#giveBack(node);
        if (entry === undefined) return undefined;
        ({ node } = entry);
      }
      if (this.#identity(this.#fdOf(node)) === identity) return node;
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
    }
    this.#giveBack(node);
    return undefined;
  }

  #giveBack(node: Inode): void {
    if (node !== this.root) this.forget(node, 1);
  }

  /** What no other file of the folder has, or will have under the same name. */
  #identity(fd: number): string {
    checked(readStatus(this.#calls, fd));
    const { ino, btime, btimensec } = this.#told(this.root);
    const handle = Buffer.from(this.#inodes.handleOf(fd) ?? []).toString('hex');
    return [ino, btime, btimensec, handle].join(' ');
  }

  #fdOf(node: Inode): number {
    return node.fd >= 0 ? node.fd : this.#inodes.descriptor(node);
  }

  /** The inode of a descriptor that was just opened in a directory, whose status is read by it. */
  #enter(directory: Inode, fd: number): Inode {
    const result = readStatus(this.#calls, fd);
    const { mount, device } = directory.place;
    const crosses = status.mount !== mount || status.device !== device;
    if (result < 0 || (crosses && this.#rules.mounts === 'refuse')) {
      this.#descriptors.close(fd);
      throw result < 0 ? failed(result) : new FsError('EACCES');
    }
    const node = this.#inodes.take(fd);
    if (crosses) node.isMount = true;
    return node;
  }

  #entry(node: Inode): Entry<Inode> {
    return { node, attributes: this.#told(node) };
  }

  /** What a guest is told of the file whose status was read. */
  #told(node: Inode): Attributes {
    const told = this.#attributes;
    fillAttributes(told);
    told.uid = this.#rules.users.toGuest(told.uid);
    told.gid = this.#rules.groups.toGuest(told.gid);
    told.submount = node.isMount;
    return told;
  }

  #openFlags(passed: number): number {
    // A guest that holds writes back reads what is around them.
    const reads = this.cache.writeback === true && (passed & O.ACCMODE) === O.WRONLY;
    // It appends itself then.
    const appends = this.cache.writeback === true ? O.APPEND : 0;
    return (reads ? (passed & ~O.ACCMODE) | O.RDWR : passed) & ~appends;
  }

  #opened(file: SharedFile): SharedFile {
    this.#files.add(file);
    return file;
  }

  /** Whose something is that the caller makes. */
  #makers({ uid, gid }: Caller): readonly [user: number, group: number] {
    const user = this.#rules.users.makerOf(uid);
    const group = this.#rules.groups.makerOf(gid);
    if (user === undefined || group === undefined) throw new FsError('EPERM');
    return [user, group];
  }

  /** Makes something by its name, and finds it. `mode` is absent where it has none of its own. */
  #make(
    directory: Inode,
    name: string,
    mode: number | undefined,
    caller: Caller,
    call: (folder: number, bytes: Uint8Array) => number,
  ): Entry<Inode> {
    const [user, group] = this.#makers(caller);
    const folder = this.#fdOf(directory);
    checked(call(folder, nameBytes(name)));
    const fd = this.#opening.mustOpen(folder, nameBytes(name), O.PATH, 0);
    const node = this.#enter(directory, fd);
    // Somebody else may have put another thing into its place: what is not new does not change hands.
    const isNew = status.uid === this.#ownUser && (node.type === S.IFDIR || status.nlink === 1);
    if (isNew) this.#settle(directory, node.fd, mode, user, group);
    return this.#entry(node);
  }

  #created(
    directory: Inode,
    fd: number,
    mode: number,
    writable: boolean,
    user: number,
    group: number,
  ): Created<Inode, SharedFile> {
    const { calls } = this.#descriptors;
    try {
      checked(readStatus(calls, fd));
      this.#settle(directory, fd, mode, user, group);
      const standing = checked(this.#descriptors.reopen(fd, O.PATH));
      const node = this.#inodes.take(standing);
      const file = this.#opened(new SharedFile(this.#descriptors, node, fd, { writable }));
      return { entry: this.#entry(node), file };
    } catch (error) {
      this.#descriptors.close(fd);
      throw error;
    }
  }

  /**
   * Gives what was made its owner, and the permissions that the process's own mask and the change of owner have taken away;
   * its status is read before and after.
   */
  #settle(directory: Inode, fd: number, mode: number | undefined, user: number, group: number): void {
    const was = status.mode;
    let changed = false;
    if (user !== this.#ownUser || group !== this.#ownGroup) {
      const keepsGroup = group === this.#ownGroup || this.#handsGroupDown(directory);
      checked(this.#calls.chown(fd, noName, user, keepsGroup ? keepId : group, AT.EMPTY_PATH));
      changed = true;
    }
    // Set-group-ID of a directory is handed down and stays.
    const lost = this.#umask | (changed ? S.ISUID | S.ISGID : 0);
    if (mode !== undefined && (mode & lost) !== 0) {
      this.#changeMode(fd, (mode & permissions) | (was & S.ISGID));
      changed = true;
    }
    if (changed) checked(readStatus(this.#calls, fd));
  }

  #handsGroupDown(directory: Inode): boolean {
    checked(readStatus(this.#calls, this.#fdOf(directory)));
    return (status.mode & S.ISGID) !== 0;
  }

  #changeMode(fd: number, mode: number): void {
    checked(this.#calls.chmod(this.#descriptors.links, numberName(fd), mode & permissions));
  }

  #killPrivileges(fd: number): void {
    checked(readStatus(this.#calls, fd));
    const { mode } = status;
    const group = (mode & S.IXGRP) !== 0 ? S.ISGID : 0;
    const less = mode & ~(S.ISUID | group);
    if (less !== mode && (mode & S.IFMT) === S.IFREG) this.#changeMode(fd, less);
  }

  #resize(node: Inode, size: number, file: SharedFile | undefined): void {
    if (node.type !== S.IFREG) throw new FsError(node.type === S.IFDIR ? 'EISDIR' : 'EINVAL');
    if (file?.writable) {
      checked(this.#calls.truncate(file.fd, size));
      return;
    }
    const fd = checked(this.#descriptors.reopen(this.#fdOf(node), O.WRONLY));
    const result = this.#calls.truncate(fd, size);
    this.#descriptors.close(fd);
    checked(result);
  }
}

function isWritable(flags: number): boolean {
  return (flags & O.ACCMODE) !== 0;
}

/** Fills in the `struct timespec` at a place. */
function putTime(place: 0 | 2, time: FileTime | undefined): void {
  times[place] = BigInt(typeof time === 'object' ? time.seconds : 0);
  times[place + 1] = BigInt(time === undefined ? UTIME.OMIT : time === 'now' ? UTIME.NOW : time.nanoseconds);
}

function count(value: bigint): number {
  return Number(BigInt.asUintN(53, value));
}

async function readOf(fd: number, offset: number, target: Uint8Array): Promise<number> {
  try {
    let done = 0;
    while (done < target.length) {
      const { bytesRead } = await readLater(fd, target, done, target.length - done, offset + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  } catch (error) {
    throw errorOf(error);
  }
}

async function syncOf(fd: number, dataOnly: boolean): Promise<void> {
  try {
    await (dataOnly ? fdatasyncLater(fd) : fsyncLater(fd));
  } catch (error) {
    throw errorOf(error);
  }
}

function errorOf(error: unknown): FsError {
  const errno = error instanceof Error && 'errno' in error ? error.errno : undefined;
  return typeof errno === 'number' ? failed(errno) : new FsError('EIO');
}
