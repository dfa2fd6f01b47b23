import type { Json } from 'virtio/device';
import {
  type Allocation,
  type AttributeChanges,
  type CacheRules,
  type Caller,
  type Created,
  type DirectorySink,
  type Eventually,
  type FileTree,
  fileType,
  longestName,
  openFlag,
  type RenameRule,
  type TreeStatistics,
} from 'virtio/devices/fs';
import { fail } from './failure.ts';
import { moveFile } from './move.ts';
import { BrowserFile, BrowserNode, fileOf, folderOf } from './node.ts';
import { OpenContents } from './open-contents.ts';
import { applyRecord, type FolderRecord, readRecord } from './record.ts';
import { goneName, guestName, isLeftover, isName, storedName } from './stored-names.ts';
import { Turns } from './turns.ts';
import { UnwrittenRecords } from './unwritten-records.ts';

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

/** Milliseconds for which what was listed of a folder that others change is believed. */
const oneSecond = 1000;

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
  readonly #contents: OpenContents;
  readonly #records: UnwrittenRecords;
  /** Of changes of names. */
  readonly #changes = new Turns();

  constructor(folder: FileSystemDirectoryHandle, options: BrowserTreeOptions, { isOurs, release }: Kind) {
    this.readOnly = options.readOnly ?? false;
    this.cache = options.cache ?? {};
    this.#isOurs = isOurs;
    this.#release = release;
    this.root = new BrowserNode('', DIRECTORY | 0o755, 1);
    this.root.handle = folder;
    this.root.born(Date.now());
    const isWritable = isOurs && !this.readOnly;
    this.#contents = new OpenContents(this.root, isWritable);
    this.#records = new UnwrittenRecords(isWritable);
  }

  lookup(directory: BrowserNode, name: string): Eventually<BrowserNode | undefined> {
    if (this.#isListed(directory)) return this.#entry(directory, name);
    return this.#changes.run(async () => {
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
    const { size } = changes;
    await this.#find(node);
    if (size !== undefined) {
      if (node.children !== undefined) fail('EISDIR');
      await this.#contents.use(node, (content) => content.setSize(size));
      node.touch(Date.now(), true);
    }
    node.change(changes, Date.now());
    this.#records.mark(node.parent);
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
    return this.#changes.run(() => this.#make(directory, name, { mode, rdev, uid, gid }));
  }

  makeDirectory(directory: BrowserNode, name: string, mode: number, caller: Caller): Promise<BrowserNode> {
    const { uid, gid } = caller;
    return this.#changes.run(() => this.#make(directory, name, { mode: DIRECTORY | mode, uid, gid }));
  }

  symlink(directory: BrowserNode, name: string, target: string, { uid, gid }: Caller): Promise<BrowserNode> {
    return this.#changes.run(() => this.#make(directory, name, { mode: SYMLINK | 0o777, target, uid, gid }));
  }

  unlink(directory: BrowserNode, name: string): Promise<void> {
    return this.#changes.run(async () => {
      const node = await this.#existing(directory, name);
      if (node.children !== undefined) fail('EISDIR');
      await this.#takeAway(node);
      this.#lost(node);
    });
  }

  removeDirectory(directory: BrowserNode, name: string): Promise<void> {
    return this.#changes.run(async () => {
      const node = await this.#existing(directory, name);
      await this.#checkEmpty(node);
      await this.#removeStored(node);
      this.#lost(node);
    });
  }

  rename(from: BrowserNode, name: string, to: BrowserNode, newName: string, rule: RenameRule): Promise<void> {
    return this.#changes.run(async () => {
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
      for (const directory of [from, to]) directory.touch(Date.now(), true);
      node.touch(Date.now(), false);
      this.#records.mark(from, from.parent, to, to.parent);
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
    return this.#changes.run(async () => {
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
    return this.#contents.use(node, async (content) => {
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
    return this.#contents.use(node, async (content) => {
      const from = file.appends ? content.size : offset;
      let at = from;
      for (const source of sources) {
        await content.write(at, source);
        at += source.length;
      }
      if (kill) node.killPrivileges();
      node.touch(Date.now(), true);
      this.#records.mark(node.parent);
      return at - from;
    });
  }

  async allocate(file: BrowserFile, offset: number, length: number, how: Allocation): Promise<void> {
    const { node } = file;
    if (how.kind === 'collapse' || how.kind === 'insert') fail('EOPNOTSUPP');
    await this.#find(node);
    await this.#contents.use(node, async (content) => {
      const end = offset + length;
      if (how.kind === 'punch' || how.kind === 'zero') {
        const blank = new Uint8Array(65_536);
        for (let at = offset; at < Math.min(end, content.size); at += blank.length) {
          await content.write(at, blank.subarray(0, Math.min(end, content.size) - at));
        }
      }
      if (!how.keepSize && end > content.size) await content.setSize(end);
      node.touch(Date.now(), true);
      this.#records.mark(node.parent);
    });
  }

  async flush({ node }: BrowserFile): Promise<void> {
    await node.turn.run(async () => node.content?.settle());
  }

  release({ node }: BrowserFile): Promise<void> | undefined {
    node.open--;
    if (node.children !== undefined) return undefined;
    return node.turn.run(() => this.#contents.closeUnused(node));
  }

  /** What was written is stable then, and that the file is there, and its attributes: after a crash of the page, too. */
  async fsync({ node }: BrowserFile): Promise<void> {
    await node.turn.run(async () => node.content?.flush());
    await this.#records.writeUpwards(node.parent);
  }

  openDirectory(node: BrowserNode): BrowserFile {
    if (node.children === undefined) fail('ENOTDIR');
    return new BrowserFile(node, false);
  }

  async readDirectory(file: BrowserFile, offset: number, sink: DirectorySink): Promise<void> {
    const { node } = file;
    if (offset === 0 || file.listing.length === 0) {
      await this.#find(node);
      await this.#changes.run(() => this.#list(node));
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
    await this.#records.writeUpwards(node);
  }

  async syncAll(): Promise<void> {
    await this.#contents.flushAll();
    await this.#records.writeAll();
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
      await this.#contents.closeAll();
      await this.#records.writeAll();
    } finally {
      this.#records.stop();
      this.#contents.stop();
      this.#release();
    }
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
    return node.turn.run(async () => {
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
    if (!node.isFound) await this.#changes.run(() => this.#list(node.parent));
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
    if (recorded === undefined) this.#records.mark(node.parent);
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
    node.give(directory, made);
    node.rdev = made.rdev ?? 0;
    node.target = target;
    const folder = folderOf(directory);
    const stored = storedName(name);
    if (isDirectory) node.handle = await folder.getDirectoryHandle(stored, { create: true });
    else if (node.kind === REGULAR) node.handle = await folder.getFileHandle(stored, { create: true });
    if (isDirectory) node.listedAt = Date.now();
    else node.length = target?.length ?? 0;
    node.born(Date.now());
    node.parent = directory;
    directory.children?.set(name, node);
    directory.touch(Date.now(), true);
    this.#records.mark(directory, directory.parent);
    return node;
  }

  /** Takes a file's name away; one that is open stays, under a name of ours. */
  async #takeAway(node: BrowserNode): Promise<void> {
    if (node.handle === undefined) return;
    if (node.open === 0) {
      await node.turn.run(() => this.#removeStored(node));
      return;
    }
    await node.turn.run(async () => {
      await this.#contents.close(node);
      node.handle = await moveFile(
        fileOf(node),
        folderOf(node.parent),
        folderOf(this.root),
        goneName(node.ino),
      );
    });
  }

  async #removeStored(node: BrowserNode): Promise<void> {
    await this.#contents.close(node);
    // A folder of ours has its record in it.
    const recursive = this.#isOurs && node.children !== undefined;
    await folderOf(node.parent).removeEntry(storedName(node.name), { recursive });
    node.handle = undefined;
  }

  #lost(node: BrowserNode): void {
    const { parent } = node;
    if (parent.children?.get(node.name) === node) parent.children.delete(node.name);
    node.isGone = true;
    this.#records.drop(node);
    node.touch(Date.now(), false);
    parent.touch(Date.now(), true);
    this.#records.mark(parent, parent.parent);
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
      node.turn.run(async () => {
        await this.#contents.close(node);
        const [from, stored] = [folderOf(node.parent), storedName(newName)];
        node.handle = await moveFile(fileOf(node), from, folderOf(to), stored);
      });
    if (there === undefined || there.open > 0) return move();
    // What is still to be stored of the old one must not come over the new one.
    await there.turn.run(async () => {
      await this.#contents.close(there);
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
}

/** Whether a browser can store what has this mode. */
const isStored = (mode: number): boolean =>
  (mode & fileType.MASK) === REGULAR || (mode & fileType.MASK) === DIRECTORY;

const isStep = (step: Json): step is [string, number, number] =>
  Array.isArray(step) &&
  typeof step[0] === 'string' &&
  Number.isSafeInteger(step[1]) &&
  Number.isSafeInteger(step[2]);

/** A number that no other file has or had: there are 2^52. */
function newNumber(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high & 0xf_ffff) * 2 ** 32 + low + 2;
}

/** Gives a file without a record the time that the browser has for it. */
function dateAs(node: BrowserNode, milliseconds: number): void {
  node.touch(milliseconds, true);
  [node.atime, node.atimensec] = [node.mtime, node.mtimensec];
}
