import { type Attributes, type Entry, fileType, type OpenFile } from 'virtio/devices/fs';
import type { FileContent } from './content.ts';

/** A file, directory or link of the browser's storage. It is its own attributes and its own entry. */
export class BrowserNode implements Attributes, Entry<BrowserNode> {
  readonly ino: number;
  mode: number;
  uid = 0;
  gid = 0;
  rdev = 0;
  readonly nlink = 1;
  readonly blksize = 4096;
  atime = 0;
  atimensec = 0;
  mtime = 0;
  mtimensec = 0;
  ctime = 0;
  ctimensec = 0;
  btime = 0;
  btimensec = 0;
  name: string;
  /** The directory that it is in; the root is in itself. */
  parent: BrowserNode = this;
  /** Absent for what is in a record alone, and for what a snapshot told of and nobody has looked at yet. */
  handle: FileSystemFileHandle | FileSystemDirectoryHandle | undefined;
  /** Of a symbolic link. */
  target: string | undefined;
  /** Of a directory: what is known to be in it. */
  readonly children: Map<string, BrowserNode> | undefined;
  /** When its children were listed, in milliseconds; `undefined` when they never were. */
  listedAt: number | undefined;
  /** It is there; of what a snapshot told of that is yet to be found out. */
  isFound = true;
  /** It has lost its name. */
  isGone = false;
  /** Bytes of a file that is not open, once they were looked for. */
  length: number | undefined;
  /** Open files of it. */
  open = 0;
  content: FileContent | undefined;
  /** What is done with its bytes, one after the other. */
  turn: Promise<unknown> = Promise.resolve();

  constructor(name: string, mode: number, ino: number) {
    this.name = name;
    this.mode = mode;
    this.ino = ino;
    this.children = this.kind === fileType.DIRECTORY ? new Map() : undefined;
  }

  get node(): this {
    return this;
  }

  get attributes(): this {
    return this;
  }

  get kind(): number {
    return this.mode & fileType.MASK;
  }

  get size(): number {
    return (
      this.content?.size ?? this.length ?? this.target?.length ?? (this.children === undefined ? 0 : 4096)
    );
  }

  get blocks(): number {
    return Math.ceil(this.size / 512);
  }

  /** The names that lead to it from the root. */
  get path(): string[] {
    return this.parent === this ? [] : [...this.parent.path, this.name];
  }
}

/** An open file or directory of a browser's. */
export class BrowserFile implements OpenFile {
  readonly node: BrowserNode;
  readonly appends: boolean;
  readonly dataCache = undefined;
  /** What a directory has in it, as it was when its listing began. */
  listing: readonly BrowserNode[] = [];

  constructor(node: BrowserNode, appends: boolean) {
    this.node = node;
    this.appends = appends;
    node.open++;
  }
}
