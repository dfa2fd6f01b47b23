import type { Json } from 'virtio/device';
import {
  type Allocation,
  type AttributeChanges,
  type CacheRules,
  type Caller,
  type Created,
  type DirectorySink,
  type Eventually,
  type FileTime,
  type FileTree,
  fileType,
  longestName,
  modeBit,
  openFlag,
  type RenameRule,
  type TreeStatistics,
} from 'virtio/devices/fs';
import { type FileContent, StreamedContent } from './content.ts';
import { asFsError, fail, nameOf } from './failure.ts';
import { FileWorker } from './file-worker.ts';
import { moveFile } from './move.ts';
import { BrowserFile, BrowserNode } from './node.ts';
import { applyRecord, type FolderRecord, readRecord, writeRecord } from './record.ts';
import { goneName, guestName, isLeftover, isName, storedName } from './stored-names.ts';

/** How a folder of the browser's is shared. */
export interface BrowserTreeOptions {
  readonly readOnly?: boolean;
  /** What a guest may keep: names and attributes for a second, and what it read until the next open, unless told. */
  readonly cache?: CacheRules;
}

/** What becomes of a tree's folder. */
interface Kind {
  /** Nobody else changes it, and each folder has a record of what the browser has no place for. */
  readonly isOurs: boolean;
  /** Gives back what kept others away. */
  readonly release: () => void;
}

const { DIRECTORY, REGULAR, SYMLINK } = fileType;

/** Milliseconds for which what was listed of a folder that others change is believed, and until a record is written. */
const oneSecond = 1000;
/** How often, and how long, a file is waited for that a page which has just gone still holds. */
const attempts = 40;
const pause = 50;

/**
 * Files in a folder of the browser's. Names and attributes of folders that were looked into are in memory; every change of
 * names goes on after the one before, and so does what is read or written of one file.
 */
export class BrowserTree implements FileTree<BrowserNode, BrowserFile> {
  readonly immediate = false;
  readonly killsPrivileges = true;
  readonly readOnly: boolean;
  readonly cache: CacheRules;
  readonly root: BrowserNode;
  readonly #isOurs: boolean;
  readonly #release: () => void;
  readonly #opened = new Set<BrowserNode>();
  readonly #unrecorded = new Set<BrowserNode>();
  /** `null` where it cannot be had. */
  #worker: FileWorker | null | undefined;
  #changing: Promise<unknown> = Promise.resolve();
  #recording: Promise<unknown> = Promise.resolve();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(folder: FileSystemDirectoryHandle, options: BrowserTreeOptions, { isOurs, release }: Kind) {
    this.readOnly = options.readOnly ?? false;
    this.cache = options.cache ?? {};
    this.#isOurs = isOurs;
    this.#release = release;
    this.root = new BrowserNode('', DIRECTORY | 0o755, 1);
    this.root.handle = folder;
    touch(this.root, true);
    this.root.btime = this.root.mtime;
  }

  lookup(directory: BrowserNode, name: string): Eventually<BrowserNode | undefined> {
    if (this.#isListed(directory)) return this.#entry(directory, name);
    return this.#change(async () => {
      await this.#list(directory);
      return this.#entry(directory, name);
    });
  }

  attributes(node: BrowserNode): Eventually<BrowserNode> {
    const isKnown = node.isFound && !node.isGone && (node.kind !== REGULAR || node.length !== undefined);
    if (isKnown && this.#isOurs) return node;
    return this.#find(node).then(() => this.#measured(node));
  }

  async setAttributes(node: BrowserNode, changes: AttributeChanges): Promise<BrowserNode> {
    const { size, mode, uid, gid } = changes;
    await this.#find(node);
    if (size !== undefined) {
      if (node.children !== undefined) fail('EISDIR');
      await this.#withContent(node, (content) => content.setSize(size));
      touch(node, true);
    }
    if (changes.killPrivileges === true) killPrivileges(node);
    if (mode !== undefined) node.mode = node.kind | (mode & 0o7777);
    if (uid !== undefined) node.uid = uid;
    if (gid !== undefined) node.gid = gid;
    touch(node, false);
    [node.atime, node.atimensec] = timeOf(changes.atime) ?? [node.atime, node.atimensec];
    [node.mtime, node.mtimensec] = timeOf(changes.mtime) ?? [node.mtime, node.mtimensec];
    this.#mark(node.parent);
    return this.#measured(node);
  }

  async readLink(node: BrowserNode): Promise<string> {
    await this.#find(node);
    return node.target ?? fail('EINVAL');
  }

  makeNode(
    directory: BrowserNode,
    name: string,
    mode: number,
    rdev: number,
    { uid, gid }: Caller,
  ): Promise<BrowserNode> {
    return this.#change(() => this.#make(directory, name, { mode, rdev, uid, gid }));
  }

  makeDirectory(directory: BrowserNode, name: string, mode: number, caller: Caller): Promise<BrowserNode> {
    const { uid, gid } = caller;
    return this.#change(() => this.#make(directory, name, { mode: DIRECTORY | mode, uid, gid }));
  }

  symlink(directory: BrowserNode, name: string, target: string, { uid, gid }: Caller): Promise<BrowserNode> {
    return this.#change(() => this.#make(directory, name, { mode: SYMLINK | 0o777, target, uid, gid }));
  }

  unlink(directory: BrowserNode, name: string): Promise<void> {
    return this.#change(async () => {
      const node = await this.#existing(directory, name);
      if (node.children !== undefined) fail('EISDIR');
      await this.#takeAway(node);
      this.#lost(node);
    });
  }

  removeDirectory(directory: BrowserNode, name: string): Promise<void> {
    return this.#change(async () => {
      const node = await this.#existing(directory, name);
      await this.#checkEmpty(node);
      await this.#removeStored(node);
      this.#lost(node);
    });
  }

  rename(from: BrowserNode, name: string, to: BrowserNode, newName: string, rule: RenameRule): Promise<void> {
    return this.#change(async () => {
      if (rule.exchange || rule.whiteout) fail('EINVAL');
      const node = await this.#existing(from, name);
      await this.#list(to);
      if (to.isGone) fail('ENOENT');
      if (!isName(newName)) fail('EINVAL');
      const there = to.children?.get(newName);
      if (there === node) return;
      if (there !== undefined && rule.noreplace) fail('EEXIST');
      if (node.children === undefined) await this.#renameFile(node, to, newName, there);
      else await this.#renameDirectory(node, to, newName, there);
      if (there !== undefined) this.#lost(there);
      from.children?.delete(name);
      to.children?.set(newName, node);
      node.name = newName;
      node.parent = to;
      for (const directory of [from, to]) touch(directory, true);
      touch(node, false);
      this.#mark(from, from.parent, to, to.parent);
    });
  }

  open(node: BrowserNode, flags: number): Eventually<BrowserFile> {
    if (node.children !== undefined) fail('EISDIR');
    if (node.kind === SYMLINK) fail('ELOOP');
    if (node.kind !== REGULAR) fail('ENXIO');
    const file = new BrowserFile(node, (flags & openFlag.APPEND) !== 0);
    if ((flags & openFlag.TRUNC) === 0) return file;
    return this.setAttributes(node, { size: 0 }).then(
      () => file,
      (error: unknown) => {
        node.open--;
        throw error;
      },
    );
  }

  create(
    directory: BrowserNode,
    name: string,
    mode: number,
    flags: number,
    { uid, gid }: Caller,
  ): Promise<Created<BrowserNode, BrowserFile>> {
    return this.#change(async () => {
      await this.#list(directory);
      const there = directory.children?.get(name);
      if (there !== undefined && (flags & openFlag.EXCL) !== 0) fail('EEXIST');
      const entry = there ?? (await this.#make(directory, name, { mode, uid, gid }));
      const file = await this.open(entry, flags);
      return { entry: await this.#measured(entry), file };
    });
  }

  async read(file: BrowserFile, offset: number, targets: readonly Uint8Array[]): Promise<number> {
    const { node } = file;
    await this.#find(node);
    return this.#withContent(node, async (content) => {
      let at = offset;
      for (const target of targets) {
        const count = await content.read(at, target);
        at += count;
        if (count < target.length) break;
      }
      return at - offset;
    });
  }

  async write(
    file: BrowserFile,
    offset: number,
    sources: readonly Uint8Array[],
    kill: boolean,
  ): Promise<number> {
    const { node } = file;
    await this.#find(node);
    return this.#withContent(node, async (content) => {
      const from = file.appends ? content.size : offset;
      let at = from;
      for (const source of sources) {
        await content.write(at, source);
        at += source.length;
      }
      if (kill) killPrivileges(node);
      touch(node, true);
      this.#mark(node.parent);
      return at - from;
    });
  }

  async allocate(file: BrowserFile, offset: number, length: number, how: Allocation): Promise<void> {
    const { node } = file;
    if (how.kind === 'collapse' || how.kind === 'insert') fail('EOPNOTSUPP');
    await this.#find(node);
    await this.#withContent(node, async (content) => {
      const end = offset + length;
      if (how.kind === 'punch' || how.kind === 'zero') {
        const blank = new Uint8Array(65_536);
        for (let at = offset; at < Math.min(end, content.size); at += blank.length) {
          await content.write(at, blank.subarray(0, Math.min(end, content.size) - at));
        }
      }
      if (!how.keepSize && end > content.size) await content.setSize(end);
      touch(node, true);
      this.#mark(node.parent);
    });
  }

  async flush({ node }: BrowserFile): Promise<void> {
    await this.#inTurn(node, async () => node.content?.settle());
  }

  release({ node }: BrowserFile): Promise<void> | undefined {
    node.open--;
    if (node.children !== undefined) return undefined;
    return this.#inTurn(node, () => this.#closeUnused(node));
  }

  /** What was written is stable then, and that the file is there, and its attributes: after a crash of the page, too. */
  async fsync({ node }: BrowserFile): Promise<void> {
    await this.#inTurn(node, async () => node.content?.flush());
    await this.#recordUpwards(node.parent);
  }

  openDirectory(node: BrowserNode): BrowserFile {
    if (node.children === undefined) fail('ENOTDIR');
    return new BrowserFile(node, false);
  }

  async readDirectory(file: BrowserFile, offset: number, sink: DirectorySink): Promise<void> {
    const { node } = file;
    if (offset === 0 || file.listing.length === 0) {
      await this.#find(node);
      await this.#change(() => this.#list(node));
      file.listing = [...(node.children?.values() ?? [])];
    }
    if (offset < 1 && !sink.add('.', node.ino, DIRECTORY >> 12, 1)) return;
    if (offset < 2 && !sink.add('..', node.parent.ino, DIRECTORY >> 12, 2)) return;
    for (let at = Math.max(offset - 2, 0); at < file.listing.length; at++) {
      const child = file.listing[at];
      // It was removed, or moved away, since the listing began.
      if (child === undefined || child.isGone || child.parent !== node) continue;
      if (!sink.add(child.name, child.ino, child.kind >> 12, at + 3)) return;
    }
  }

  async syncDirectory({ node }: BrowserFile): Promise<void> {
    await this.#recordUpwards(node);
  }

  async syncAll(): Promise<void> {
    await Promise.all([...this.#opened].map((node) => this.#inTurn(node, async () => node.content?.flush())));
    await this.#record([...this.#unrecorded]);
  }

  async statistics(): Promise<TreeStatistics> {
    const { quota = 0, usage = 0 } = await navigator.storage.estimate();
    const bsize = 4096;
    const free = Math.floor(Math.max(0, quota - usage) / bsize);
    const files = 2 ** 32;
    return {
      blocks: Math.floor(quota / bsize),
      bfree: free,
      bavail: free,
      files,
      ffree: files,
      bsize,
      frsize: bsize,
      namelen: longestName,
    };
  }

  /** The names that lead to it, and their numbers: what is found under a name later is another file, unless they agree. */
  saveNode(node: BrowserNode): Json {
    if (node.isGone) return null;
    const path: Json[] = [];
    for (let at = node; at.parent !== at; at = at.parent) path.unshift([at.name, at.ino, at.kind]);
    return path;
  }

  /** What was not looked into yet is believed for now, and found out when the guest asks for it. */
  restoreNode(state: Json): BrowserNode | undefined {
    if (!Array.isArray(state)) return undefined;
    let at = this.root;
    for (const step of state) {
      if (!isStep(step)) return undefined;
      const [name, ino, kind] = step;
      let child = at.children?.get(name);
      if (child === undefined && at.listedAt === undefined && at.children !== undefined && isName(name)) {
        child = new BrowserNode(name, kind, ino);
        child.isFound = false;
        child.parent = at;
        at.children.set(name, child);
      }
      if (child?.ino !== ino || child.kind !== kind) return undefined;
      at = child;
    }
    return at;
  }

  /** Stores everything, and lets go of the folder. The tree is of no use any more. */
  async close(): Promise<void> {
    try {
      for (const node of [...this.#opened]) await this.#inTurn(node, () => this.#closeContent(node));
      await this.#record([...this.#unrecorded]);
    } finally {
      clearTimeout(this.#timer);
      this.#worker?.close();
      this.#release();
    }
  }

  /** Goes on after all changes of names that are under way. */
  #change<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#changing.then(work).catch(rethrow);
    this.#changing = done.catch(() => {});
    return done;
  }

  /** Goes on after what is under way with a file's bytes. What a change of names waits for: it must not wait for one. */
  #inTurn<T>(node: BrowserNode, work: () => Promise<T>): Promise<T> {
    const done = node.turn.then(work).catch(rethrow);
    node.turn = done.catch(() => {});
    return done;
  }

  #withContent<T>(node: BrowserNode, work: (content: FileContent) => Promise<T>): Promise<T> {
    return this.#inTurn(node, async () => {
      node.content ??= await this.#openContent(fileOf(node));
      this.#opened.add(node);
      try {
        return await work(node.content);
      } finally {
        await this.#closeUnused(node);
      }
    });
  }

  async #openContent(handle: FileSystemFileHandle): Promise<FileContent> {
    if (this.#isOurs && !this.readOnly) this.#worker ??= startWorker();
    if (this.#worker === null || this.#worker === undefined) return StreamedContent.open(handle);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#worker.open(handle);
      } catch (error) {
        const name = nameOf(error);
        if (name === 'NoModificationAllowedError' && attempt < attempts) {
          await new Promise((resolve) => setTimeout(resolve, pause));
        } else if (name === 'NoModificationAllowedError' || name === 'NotFoundError') {
          throw error;
        } else {
          // No such worker, or not such files within it.
          this.#worker.close();
          this.#worker = null;
          return StreamedContent.open(handle);
        }
      }
    }
  }

  /** Closes a file that the guest does not have open, and removes one that has no name any more. */
  async #closeUnused(node: BrowserNode): Promise<void> {
    if (node.open > 0) return;
    await this.#closeContent(node);
    if (!node.isGone || node.handle === undefined) return;
    node.handle = undefined;
    await folderOf(this.root)
      .removeEntry(goneName(node.ino))
      .catch(() => {});
  }

  async #closeContent(node: BrowserNode): Promise<void> {
    const { content } = node;
    if (content === undefined) return;
    node.length = content.size;
    node.content = undefined;
    this.#opened.delete(node);
    await content.close();
  }

  #entry(directory: BrowserNode, name: string): Eventually<BrowserNode | undefined> {
    const node = directory.children?.get(name);
    return node === undefined ? undefined : this.#measured(node);
  }

  /** A node with the size and the times of its file. */
  #measured(node: BrowserNode): Eventually<BrowserNode> {
    const isKnown = node.content !== undefined || (this.#isOurs && node.length !== undefined);
    if (node.kind !== REGULAR || isKnown) return node;
    // Behind what is still to be stored of it.
    return this.#inTurn(node, async () => {
      const file = await fileOf(node).getFile();
      node.length = file.size;
      if (!this.#isOurs || (node.mtime === 0 && node.ctime === 0)) dateAs(node, file.lastModified);
      return node;
    });
  }

  /**
   * Waits until it is known whether a file is there.
   *
   * @throws {FsError} ESTALE when it is not.
   */
  async #find(node: BrowserNode): Promise<void> {
    if (!node.isFound) await this.#change(() => this.#list(node.parent));
    if (node.isGone && (node.open === 0 || node.handle === undefined)) fail('ESTALE');
  }

  #isListed(directory: BrowserNode): boolean {
    const { listedAt, isGone } = directory;
    if (directory.children === undefined) fail('ENOTDIR');
    return listedAt !== undefined && (this.#isOurs || isGone || Date.now() - listedAt < oneSecond);
  }

  /** Finds out what is in a directory, unless that is known. Part of a change. */
  async #list(directory: BrowserNode): Promise<void> {
    if (this.#isListed(directory)) return;
    if (!directory.isFound) await this.#list(directory.parent);
    if (directory.isGone) fail('ESTALE');
    const folder = folderOf(directory);
    const record = this.#isOurs ? await readRecord(folder) : undefined;
    const found = new Map<string, FileSystemFileHandle | FileSystemDirectoryHandle | undefined>();
    for await (const [stored, handle] of folder.entries()) {
      const name = guestName(stored);
      if (name !== undefined) found.set(name, handle);
      else if (this.#isOurs && isLeftover(stored) && !this.readOnly) await folder.removeEntry(stored);
    }
    for (const [name, { mode }] of record?.files ?? []) {
      if (!isStored(mode) && !found.has(name)) found.set(name, undefined);
    }
    const { children } = directory;
    for (const [name, node] of children ?? []) if (!found.has(name)) this.#vanished(node);
    for (const [name, handle] of found) this.#adopt(directory, name, handle, record);
    if (directory === this.root && record?.self !== undefined) applyRecord(directory, record.self);
    directory.listedAt = Date.now();
  }

  #adopt(
    directory: BrowserNode,
    name: string,
    handle: FileSystemFileHandle | FileSystemDirectoryHandle | undefined,
    record: FolderRecord | undefined,
  ): void {
    const given = record?.files.get(name);
    const kind =
      handle === undefined
        ? (given?.mode ?? 0) & fileType.MASK
        : handle.kind === 'directory'
          ? DIRECTORY
          : REGULAR;
    const recorded = given !== undefined && (given.mode & fileType.MASK) === kind ? given : undefined;
    const before = directory.children?.get(name);
    const isSame = before?.kind === kind && (before.isFound || before.ino === recorded?.ino);
    if (before !== undefined && !isSame) this.#vanished(before);
    const node =
      before !== undefined && isSame
        ? before
        : new BrowserNode(name, kind | (kind === DIRECTORY ? 0o755 : 0o644), recorded?.ino ?? newNumber());
    const isNew = node !== before || !node.isFound;
    node.handle = handle;
    if (!isNew) return;
    node.isFound = true;
    node.parent = directory;
    directory.children?.set(name, node);
    if (recorded === undefined) this.#mark(node.parent);
    else applyRecord(node, recorded);
  }

  /** What was there, or was believed to be, is not. */
  #vanished(node: BrowserNode): void {
    node.isFound = true;
    node.isGone = true;
    node.parent.children?.delete(node.name);
  }

  /** What stands under a name. Part of a change. */
  async #existing(directory: BrowserNode, name: string): Promise<BrowserNode> {
    await this.#list(directory);
    return directory.children?.get(name) ?? fail('ENOENT');
  }

  /** Makes a file, directory, link or other. Part of a change. */
  async #make(
    directory: BrowserNode,
    name: string,
    made: {
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      readonly rdev?: number;
      readonly target?: string;
    },
  ): Promise<BrowserNode> {
    await this.#list(directory);
    if (directory.isGone) fail('ENOENT');
    if (!isName(name)) fail('EINVAL');
    if (directory.children?.has(name) === true) fail('EEXIST');
    const { mode, target } = made;
    // What the browser cannot store has a place in a record alone.
    if (!isStored(mode) && !this.#isOurs) fail('EPERM');
    const node = new BrowserNode(name, mode, newNumber());
    const isDirectory = node.children !== undefined;
    const inherits = (directory.mode & modeBit.SETGID) !== 0;
    node.uid = made.uid;
    node.gid = inherits ? directory.gid : made.gid;
    if (inherits && isDirectory) node.mode |= modeBit.SETGID;
    node.rdev = made.rdev ?? 0;
    node.target = target;
    const folder = folderOf(directory);
    const stored = storedName(name);
    if (isDirectory) node.handle = await folder.getDirectoryHandle(stored, { create: true });
    else if (node.kind === REGULAR) node.handle = await folder.getFileHandle(stored, { create: true });
    if (isDirectory) node.listedAt = Date.now();
    else node.length = target?.length ?? 0;
    touch(node, true);
    [node.atime, node.atimensec, node.btime, node.btimensec] = [
      node.mtime,
      node.mtimensec,
      node.mtime,
      node.mtimensec,
    ];
    node.parent = directory;
    directory.children?.set(name, node);
    touch(directory, true);
    this.#mark(directory, directory.parent);
    return node;
  }

  /** Takes a file's name away; one that is open stays, under a name of ours. */
  async #takeAway(node: BrowserNode): Promise<void> {
    if (node.handle === undefined) return;
    if (node.open === 0) {
      await this.#inTurn(node, () => this.#removeStored(node));
      return;
    }
    await this.#inTurn(node, async () => {
      await this.#closeContent(node);
      node.handle = await moveFile(
        fileOf(node),
        folderOf(node.parent),
        folderOf(this.root),
        goneName(node.ino),
      );
    });
  }

  async #removeStored(node: BrowserNode): Promise<void> {
    await this.#closeContent(node);
    // A folder of ours has its record in it.
    const recursive = this.#isOurs && node.children !== undefined;
    await folderOf(node.parent).removeEntry(storedName(node.name), { recursive });
    node.handle = undefined;
  }

  #lost(node: BrowserNode): void {
    const { parent } = node;
    if (parent.children?.get(node.name) === node) parent.children.delete(node.name);
    node.isGone = true;
    this.#unrecorded.delete(node);
    touch(node, false);
    touch(parent, true);
    this.#mark(parent, parent.parent);
  }

  async #renameFile(
    node: BrowserNode,
    to: BrowserNode,
    newName: string,
    there: BrowserNode | undefined,
  ): Promise<void> {
    if (there?.children !== undefined) fail('EISDIR');
    if (there !== undefined && (there.open > 0 || node.handle === undefined)) await this.#takeAway(there);
    if (node.handle === undefined) return;
    const move = (): Promise<void> =>
      this.#inTurn(node, async () => {
        await this.#closeContent(node);
        const [from, stored] = [folderOf(node.parent), storedName(newName)];
        node.handle = await moveFile(fileOf(node), from, folderOf(to), stored);
      });
    if (there === undefined || there.open > 0) return move();
    // What is still to be stored of the old one must not come over the new one.
    await this.#inTurn(there, async () => {
      await this.#closeContent(there);
      await move();
      there.handle = undefined;
    });
  }

  /** The browser moves no folders: one that is empty is made anew, and of another the guest makes a copy. */
  async #renameDirectory(
    node: BrowserNode,
    to: BrowserNode,
    newName: string,
    there: BrowserNode | undefined,
  ): Promise<void> {
    for (let at = to; at.parent !== at; at = at.parent) if (at === node) fail('EINVAL');
    if (there !== undefined) await this.#checkEmpty(there);
    await this.#list(node);
    if ((node.children?.size ?? 0) > 0) fail('EXDEV');
    const handle = await folderOf(to).getDirectoryHandle(storedName(newName), { create: true });
    await this.#removeStored(node);
    node.handle = handle;
  }

  async #checkEmpty(directory: BrowserNode): Promise<void> {
    if (directory.children === undefined) fail('ENOTDIR');
    await this.#list(directory);
    if ((directory.children?.size ?? 0) > 0) fail('ENOTEMPTY');
  }

  /** The records of these directories are to be written before long. */
  #mark(...directories: BrowserNode[]): void {
    if (!this.#isOurs || this.readOnly) return;
    for (const directory of directories) this.#unrecorded.add(directory);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // Whoever syncs hears of what fails.
      void this.#record([...this.#unrecorded]).catch(() => {});
    }, oneSecond);
  }

  /** Writes the records that lead to a directory's files. */
  async #recordUpwards(directory: BrowserNode): Promise<void> {
    const all: BrowserNode[] = [];
    for (let at = directory; ; at = at.parent) {
      if (this.#unrecorded.has(at)) all.push(at);
      if (at.parent === at) break;
    }
    await this.#record(all);
  }

  /** Writes records, those first that were asked for first. */
  #record(directories: readonly BrowserNode[]): Promise<void> {
    const done = this.#recording
      .then(async () => {
        for (const directory of directories) {
          if (!this.#unrecorded.delete(directory) || directory.isGone) continue;
          // What was not listed is not known, and its record would lose it.
          if (directory.listedAt === undefined) continue;
          await writeRecord(folderOf(directory), directory).catch((error: unknown) => {
            if (!directory.isGone) this.#unrecorded.add(directory);
            throw error;
          });
        }
      })
      .catch(rethrow);
    this.#recording = done.catch(() => {});
    return done;
  }
}

function startWorker(): FileWorker | null {
  try {
    return new FileWorker();
  } catch {
    return null;
  }
}

const rethrow = (error: unknown): never => {
  throw asFsError(error);
};

/** Whether a browser can store what has this mode. */
const isStored = (mode: number): boolean =>
  (mode & fileType.MASK) === REGULAR || (mode & fileType.MASK) === DIRECTORY;

const isStep = (step: Json): step is [string, number, number] =>
  Array.isArray(step) &&
  typeof step[0] === 'string' &&
  Number.isSafeInteger(step[1]) &&
  Number.isSafeInteger(step[2]);

/** @throws {FsError} ENOTDIR, ESTALE. */
function folderOf({ handle, children }: BrowserNode): FileSystemDirectoryHandle {
  if (children === undefined) fail('ENOTDIR');
  return handle?.kind === 'directory' ? handle : fail('ESTALE');
}

/** @throws {FsError} EINVAL for what has no bytes. */
function fileOf({ handle }: BrowserNode): FileSystemFileHandle {
  return handle?.kind === 'file' ? handle : fail('EINVAL');
}

/** A number that no other file has or had: there are 2^52. */
function newNumber(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high & 0xf_ffff) * 2 ** 32 + low + 2;
}

function nowTime(): [number, number] {
  const milliseconds = Date.now();
  const seconds = Math.floor(milliseconds / 1000);
  return [seconds, (milliseconds - seconds * 1000) * 1e6];
}

function timeOf(time: FileTime | undefined): [number, number] | undefined {
  if (time === undefined) return undefined;
  return time === 'now' ? nowTime() : [time.seconds, time.nanoseconds];
}

/** It changed: `ctime`, and for its content `mtime`. */
function touch(node: BrowserNode, content: boolean): void {
  [node.ctime, node.ctimensec] = nowTime();
  if (content) [node.mtime, node.mtimensec] = [node.ctime, node.ctimensec];
}

/** Gives a file without a record the time that the browser has for it. */
function dateAs(node: BrowserNode, milliseconds: number): void {
  const seconds = Math.floor(milliseconds / 1000);
  const nanoseconds = Math.floor(milliseconds - seconds * 1000) * 1e6;
  [node.atime, node.mtime, node.ctime] = [seconds, seconds, seconds];
  [node.atimensec, node.mtimensec, node.ctimensec] = [nanoseconds, nanoseconds, nanoseconds];
}

/** Clears what would let others run the file as its owner. */
function killPrivileges(node: BrowserNode): void {
  if (node.kind !== REGULAR) return;
  node.mode &= ~modeBit.SETUID;
  if ((node.mode & 0o010) !== 0) node.mode &= ~modeBit.SETGID;
}
