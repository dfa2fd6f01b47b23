import type { OpenFile } from './file-tree.ts';
import type { KnownNode, NodeTable } from './node-table.ts';
import { FsError } from './spec-errno.ts';
import { openFlag } from './spec-fuse.ts';

/** An open file or directory of the guest's. */
export class Handle {
  readonly id: number;
  readonly known: KnownNode;
  readonly file: OpenFile;
  readonly flags: number;
  readonly isDirectory: boolean;
  /** Requests that are under way with it. */
  busy = 0;
  /** What is to be done once none is any more. */
  onIdle: (() => void) | undefined;

  constructor(id: number, known: KnownNode, file: OpenFile, flags: number, isDirectory: boolean) {
    this.id = id;
    this.known = known;
    this.file = file;
    this.flags = flags;
    this.isDirectory = isDirectory;
  }

  get mayRead(): boolean {
    return (this.flags & openFlag.ACCMODE) !== openFlag.WRONLY;
  }

  get mayWrite(): boolean {
    return (this.flags & openFlag.ACCMODE) !== openFlag.RDONLY;
  }
}

/** What the guest has open. Like those of nodes, numbers are never given twice. */
export class HandleTable {
  readonly #nodes: NodeTable;
  readonly #most: number;
  readonly #handles = new Map<number, Handle>();
  #nextId = 1;

  constructor(nodes: NodeTable, most: number) {
    this.#nodes = nodes;
    this.#most = most;
  }

  get size(): number {
    return this.#handles.size;
  }

  get isFull(): boolean {
    return this.#handles.size >= this.#most;
  }

  add(known: KnownNode, file: OpenFile, flags: number, isDirectory: boolean): Handle {
    const handle = new Handle(this.#nextId++, known, file, flags, isDirectory);
    this.#handles.set(handle.id, handle);
    known.holds++;
    return handle;
  }

  /** @throws {FsError} EBADF for a number that stands for nothing, or for something of another node. */
  get(id: number, nodeId: number, isDirectory: boolean): Handle {
    const handle = this.ofNode(id, nodeId);
    if (handle.isDirectory !== isDirectory) throw FsError.of('EBADF');
    return handle;
  }

  /**
   * The same, be it a file or a directory.
   *
   * @throws {FsError} EBADF.
   */
  ofNode(id: number, nodeId: number): Handle {
    const handle = this.#handles.get(id);
    if (handle === undefined || handle.known.id !== nodeId) throw FsError.of('EBADF');
    return handle;
  }

  /** The guest cannot name it any more. */
  remove(handle: Handle): void {
    this.#handles.delete(handle.id);
  }

  /** The tree has closed it: its node may be let go. */
  closed(handle: Handle): void {
    handle.known.holds--;
    this.#nodes.drop(handle.known);
  }

  /** Takes all of them away, in the order in which they were opened. */
  takeAll(): Handle[] {
    const all = this.all();
    this.#handles.clear();
    return all;
  }

  all(): Handle[] {
    return [...this.#handles.values()];
  }

  get nextId(): number {
    return this.#nextId;
  }

  /** Takes back one that a snapshot had. */
  restore(id: number, known: KnownNode, file: OpenFile, flags: number, isDirectory: boolean): void {
    this.#handles.set(id, new Handle(id, known, file, flags, isDirectory));
    known.holds++;
    this.#nextId = Math.max(this.#nextId, id + 1);
  }
}
