import { HostError, type VirtioError } from '../../errors.ts';
import { type Endian, guestView } from '../../spec/guest-endian.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import type { Attributes, CacheRules, Created, DataCache, Entry, FileTree, OpenFile } from './file-tree.ts';
import { type Handle, HandleTable } from './handle-table.ts';
import { Input } from './input.ts';
import { LockOwners } from './lock-owners.ts';
import { Mappings } from './mappings.ts';
import { type KnownNode, NodeTable } from './node-table.ts';
import { answerAt, Output } from './output.ts';
import type { FuseRequest } from './request.ts';
import { type Lifetime, lifetime, writeAttributes, writeEntry } from './spec-attribute-structs.ts';
import { type ErrnoName, errno, FsError } from './spec-errno.ts';
import { type InitFlagName, initFlag, openReply } from './spec-fuse.ts';
import { fuse_attr_out, fuse_entry_out, fuse_open_out } from './spec-fuse-structs.ts';
import type { FsWindow } from './window.ts';

/** What a guest can make its device remember. */
export interface FsLimits {
  /** Files that the guest knows: 2^20 unless told. */
  readonly nodes?: number | undefined;
  /** Open files and directories: 65,536 unless told. */
  readonly openFiles?: number | undefined;
  /** Processes that hold locks: 65,536 unless told. */
  readonly lockOwners?: number | undefined;
  /** Mappings in the window: 1024 unless told. */
  readonly mappings?: number | undefined;
}

const { attr_valid, attr_valid_nsec, dummy } = fuse_attr_out.field;
const attrAt = fuse_attr_out.field.attr.offset;
const { fh, open_flags, backing_id } = fuse_open_out.field;

const none: Lifetime = { seconds: 0, nanoseconds: 0 };

/**
 * What both sides have agreed on and know of each other from one INIT to the next, and how requests of it are answered.
 */
export class Session {
  readonly tree: FileTree<object, OpenFile>;
  readonly cache: CacheRules;
  readonly nodes: NodeTable;
  readonly handles: HandleTable;
  readonly owners: LockOwners;
  /** What is in the window, where there is one. */
  readonly mappings: Mappings | undefined;
  readonly input: Input = new Input();
  readonly output: Output = new Output();
  /** How requests that can be interrupted are, by their `unique`. */
  readonly waiting: Map<bigint, () => void> = new Map();
  /** Requests that are to be interrupted and have not come yet: queues are processed in any order. */
  readonly early: Set<bigint> = new Set();
  /** Bytes of data that one request has at most. */
  readonly mostData: number;
  /** Rises with each session: what comes late is told by it. */
  epoch = 0;
  /** An INIT was answered. */
  begun = false;
  endian: Endian = 'little';
  minor = 0;
  flags: ReadonlySet<number> = new Set();
  entryLifetime: Lifetime;
  absentLifetime: Lifetime;
  attributeLifetime: Lifetime;
  readonly #onError: ((error: VirtioError) => void) | undefined;

  constructor(options: {
    readonly tree: FileTree<object, OpenFile>;
    readonly limits: FsLimits;
    readonly mostData: number;
    readonly window?: FsWindow | undefined;
    readonly onError: ((error: VirtioError) => void) | undefined;
  }) {
    const { tree, limits } = options;
    this.tree = tree;
    this.cache = tree.cache ?? {};
    this.nodes = new NodeTable(tree, limits.nodes ?? 2 ** 20);
    this.handles = new HandleTable(this.nodes, limits.openFiles ?? 65_536);
    this.owners = new LockOwners(limits.lockOwners ?? 65_536);
    this.mostData = options.mostData;
    this.#onError = options.onError;
    const { window } = options;
    if (window !== undefined) {
      this.mappings = new Mappings(window, tree, limits.mappings ?? 1024, (work) => this.quietly(work));
    }
    this.entryLifetime = lifetime(this.cache.entrySeconds ?? 1);
    this.absentLifetime = lifetime(this.cache.absentSeconds ?? 0);
    this.attributeLifetime = lifetime(this.cache.attributeSeconds ?? 1);
  }

  /** True when INIT has settled it. */
  has(flag: InitFlagName): boolean {
    return this.flags.has(initFlag[flag]);
  }

  /** True when files are marked as worth while to be mapped. */
  get marksFiles(): boolean {
    return this.mappings !== undefined && this.has('HAS_INODE_DAX');
  }

  setEndian(endian: Endian): void {
    this.endian = endian;
    this.input.setEndian(endian);
    this.output.setEndian(endian);
  }

  /** Sees bytes in its byte order. */
  viewOf(bytes: Uint8Array): DataView {
    return guestView(bytes, this.endian);
  }

  /** A request's own number, exactly. */
  uniqueOf({ unique }: FuseRequest): bigint {
    return this.viewOf(unique).getBigUint64(0, true);
  }

  /** Puts the largest offset there is, 2^63 − 1, into the answer: what no number holds. */
  writeLargest(at: number): void {
    this.output.view.setBigUint64(at, 2n ** 63n - 1n, true);
  }

  /** Ends the session: the guest has nothing open and knows nothing any more. */
  end(): void {
    this.epoch++;
    this.begun = false;
    this.flags = new Set();
    this.mappings?.end();
    for (const interrupt of [...this.waiting.values()]) interrupt();
    this.waiting.clear();
    this.early.clear();
    for (const handle of this.handles.takeAll()) this.close(handle);
    this.nodes.clear();
  }

  /** The node that a request is about. */
  node(request: FuseRequest): object {
    const known = this.nodes.get(request.nodeid);
    request.known = known;
    return known.node;
  }

  /** Another one that it names. */
  otherNode(request: FuseRequest, id: number): object {
    const known = this.nodes.get(id);
    request.otherKnown = known;
    return known.node;
  }

  /** The open file that it names, which is of its node. */
  handle(request: FuseRequest, id: number): Handle {
    const handle = this.handles.get(id, request.nodeid, false);
    request.handle = handle;
    return handle;
  }

  directoryHandle(request: FuseRequest, id: number): Handle {
    const handle = this.handles.get(id, request.nodeid, true);
    request.handle = handle;
    return handle;
  }

  /**
   * Opens nothing more than the guest may have open.
   *
   * @throws {FsError} ENFILE.
   */
  checkHandles(): void {
    if (this.handles.isFull) throw FsError.of('ENFILE');
  }

  /** Has the tree close what the guest closed, once nothing is under way with it. */
  close(handle: Handle): void {
    if (handle.busy > 0) {
      handle.onIdle = () => this.close(handle);
      return;
    }
    this.owners.unlockAll(this.tree, handle);
    const closing = this.quietly(() => this.tree.release?.(handle.file));
    if (closing instanceof Promise) void closing.then(() => this.handles.closed(handle));
    else this.handles.closed(handle);
  }

  /** Runs what nobody waits for: an error is told to the owner, and goes no further. */
  quietly(work: () => void | Promise<void>): void | Promise<void> {
    const failed = (error: unknown): void => void this.errnoOf(error);
    try {
      const pending = work();
      if (pending instanceof Promise) return pending.catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  /** A request is over: what it held is let go, if it waited. */
  letGo(request: FuseRequest): void {
    for (const handle of [request.handle, request.otherHandle]) {
      if (handle === undefined) continue;
      handle.busy--;
      if (handle.busy > 0) continue;
      const { onIdle } = handle;
      handle.onIdle = undefined;
      onIdle?.();
    }
    for (const known of [request.known, request.otherKnown]) {
      if (known === undefined) continue;
      known.holds--;
      this.nodes.drop(known);
    }
  }

  /** False when the guest waits for no answer any more: it has reset the queue, or begun another session. */
  waits(request: FuseRequest): boolean {
    return request.epoch === this.epoch && request.chain?.live === true;
  }

  /** What the guest reads of an error. What is no file system's own is told to the owner. */
  errnoOf(error: unknown): ErrnoName {
    if (error instanceof FsError) return error.code;
    this.#onError?.(
      error instanceof HostError
        ? error
        : new HostError('IO_ERROR', `a file tree failed: ${String(error)}`, { cause: error }),
    );
    return 'EIO';
  }

  /** Answers that it is done, and nothing else. */
  done(request: FuseRequest): void {
    this.send(request, 0);
  }

  fail(request: FuseRequest, code: ErrnoName): void {
    const { chain } = request;
    if (chain?.live === true) this.output.sendError(chain, request.unique, -errno[code]);
  }

  /** Answers with `length` bytes that were written to `output` behind the header. */
  send(request: FuseRequest, length: number): void {
    if (this.waits(request)) this.output.send(chainOf(request), request.unique, length);
  }

  /** Answers with `length` bytes that stand in the guest's memory. */
  sendBefore(request: FuseRequest, length: number): void {
    if (this.waits(request)) this.output.sendBefore(chainOf(request), request.unique, length);
  }

  /** Answers with bytes that stand elsewhere, for which the guest may have left too little room. */
  sendData(request: FuseRequest, bytes: Uint8Array): void {
    if (!this.waits(request)) return;
    if (answerAt + bytes.length > chainOf(request).writable.length) throw FsError.of('ERANGE');
    this.sendBytes(request, bytes);
  }

  sendBytes(request: FuseRequest, bytes: Uint8Array): void {
    if (this.waits(request)) this.output.sendBytes(chainOf(request), request.unique, bytes);
  }

  /** Tells the guest of a file; it must be told, so that counts stay exact. */
  #told(request: FuseRequest, entry: Entry<object>): KnownNode | undefined {
    if (this.waits(request)) return this.nodes.found(entry);
    this.tree.forget?.(entry.node, 1);
    return undefined;
  }

  /** The same for an entry of a listing: one that cannot be told stays a name. */
  tryTell(request: FuseRequest, entry: Entry<object>): KnownNode | undefined {
    try {
      return this.#told(request, entry);
    } catch (error) {
      this.errnoOf(error);
      return undefined;
    }
  }

  sendEntry(request: FuseRequest, entry: Entry<object>): void {
    const known = this.#told(request, entry);
    if (known === undefined) return;
    this.#writeEntry(known, entry);
    this.send(request, fuse_entry_out.size);
  }

  /** Answers that a name stands for nothing, which the guest may remember for a while. */
  sendAbsent(request: FuseRequest): void {
    const { seconds, nanoseconds } = this.absentLifetime;
    if (seconds === 0 && nanoseconds === 0) {
      this.fail(request, 'ENOENT');
      return;
    }
    this.output.bytes.fill(0, answerAt);
    writeEntry(this.output.view, answerAt, 0, nothing, this.absentLifetime, none, false);
    this.send(request, fuse_entry_out.size);
  }

  sendAttributes(request: FuseRequest, attributes: Attributes): void {
    const { view } = this.output;
    attr_valid.set(view, answerAt, this.attributeLifetime.seconds);
    attr_valid_nsec.set(view, answerAt, this.attributeLifetime.nanoseconds);
    dummy.set(view, answerAt, 0);
    writeAttributes(view, answerAt + attrAt, attributes, this.marksFiles);
    this.send(request, fuse_attr_out.size);
  }

  /** Answers that the request's node is open. `request.detail` has its flags. */
  sendOpen(request: FuseRequest, file: OpenFile, isDirectory: boolean): void {
    const { known } = request;
    if (known === undefined || !this.waits(request) || this.handles.isFull) {
      void this.quietly(() => this.tree.release?.(file));
      this.fail(request, 'ENFILE');
      return;
    }
    this.#writeOpen(answerAt, known, file, request.detail, isDirectory);
    this.send(request, fuse_open_out.size);
  }

  sendCreated(request: FuseRequest, { entry, file }: Created<object, OpenFile>): void {
    const mayOpen = this.waits(request) && !this.handles.isFull;
    let known: KnownNode | undefined;
    try {
      if (mayOpen) known = this.#told(request, entry);
      else this.tree.forget?.(entry.node, 1);
    } finally {
      if (known === undefined) void this.quietly(() => this.tree.release?.(file));
    }
    if (known === undefined) {
      this.fail(request, 'ENFILE');
      return;
    }
    this.#writeEntry(known, entry);
    this.#writeOpen(answerAt + fuse_entry_out.size, known, file, request.detail, false);
    this.send(request, fuse_entry_out.size + fuse_open_out.size);
  }

  #writeEntry(known: KnownNode, { attributes }: Entry<object>): void {
    const { view } = this.output;
    const { entryLifetime, attributeLifetime, marksFiles } = this;
    writeEntry(view, answerAt, known.id, attributes, entryLifetime, attributeLifetime, marksFiles);
  }

  #writeOpen(base: number, known: KnownNode, file: OpenFile, flags: number, isDirectory: boolean): void {
    const handle = this.handles.add(known, file, flags, isDirectory);
    const { view } = this.output;
    fh.set(view, base, handle.id);
    const kept = file.dataCache ?? this.cache.data ?? 'drop';
    open_flags.set(view, base, isDirectory ? directoryReply[kept] : fileReply[kept]);
    backing_id.set(view, base, 0);
  }
}

const fileReply: Readonly<Record<DataCache, number>> = {
  keep: openReply.KEEP_CACHE,
  drop: 0,
  none: openReply.DIRECT_IO | openReply.PARALLEL_DIRECT_WRITES,
};

/** A listing is kept only where it is not to be asked for again. */
const directoryReply: Readonly<Record<DataCache, number>> = {
  keep: openReply.KEEP_CACHE | openReply.CACHE_DIR,
  drop: 0,
  none: 0,
};

/** What is written of a name that stands for nothing. */
const nothing: Attributes = {
  ino: 0,
  mode: 0,
  nlink: 0,
  uid: 0,
  gid: 0,
  rdev: 0,
  size: 0,
  blocks: 0,
  blksize: 0,
  atime: 0,
  atimensec: 0,
  mtime: 0,
  mtimensec: 0,
  ctime: 0,
  ctimensec: 0,
};

/** The buffer that a request came in. */
export function chainOf({ chain }: FuseRequest): Chain {
  if (chain === undefined) throw new HostError('IO_ERROR', 'a request was answered that has no chain');
  return chain;
}
