import type { FileBytes } from './file-bytes.ts';
import { FileNode } from './file-node.ts';
import type { Entry, OpenFile } from './file-tree.ts';
import { fileType } from './spec-fuse.ts';

/** A name in a directory. */
export interface Link {
  readonly inode: Inode;
  /** Its place in listings: names come in the order in which they were made. */
  readonly order: number;
}

/** What a file in memory is. */
export class Inode extends FileNode implements Entry<Inode> {
  /** Of a regular file. */
  readonly data: FileBytes | undefined;
  /** Of a symbolic link. */
  readonly target: string | undefined;
  /** Of a directory. */
  readonly names: Map<string, Link> | undefined;
  /** The directory that a directory is in; the root is in itself. */
  parent: Inode = this;
  xattrs: Map<string, Uint8Array<ArrayBuffer>> | undefined;
  /** Entries that were told of it and not given back, and open files. */
  uses = 0;
  open = 0;

  constructor(ino: number, mode: number, data: FileBytes | undefined, target: string | undefined) {
    super(ino, mode);
    this.data = data;
    this.target = target;
    this.names = this.kind === fileType.DIRECTORY ? new Map() : undefined;
    // Its own name, and the one in its parent.
    if (this.names !== undefined) this.nlink = 2;
  }

  get size(): number {
    return this.data?.size ?? this.target?.length ?? (this.names?.size ?? 0) * 32;
  }

  get blocks(): number {
    return Math.ceil((this.data?.room ?? 0) / 512);
  }
}

/** An open file or directory in memory. */
export class MemoryFile implements OpenFile {
  readonly inode: Inode;
  readonly appends: boolean;
  /** As the tree says for all. */
  readonly dataCache = undefined;
  /** Where a listing stopped, and what stands there: the next is mostly asked for from the very place. */
  listing:
    | { readonly offset: number; readonly rest: Iterator<[string, Link]>; ahead: [string, Link] | undefined }
    | undefined;

  constructor(inode: Inode, appends: boolean) {
    this.inode = inode;
    this.appends = appends;
    inode.open++;
  }
}
