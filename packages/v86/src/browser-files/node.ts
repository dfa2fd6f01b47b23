import { type Entry, FileNode, fileType, type OpenFile } from 'virtio/devices/fs';
import type { FileContent } from './content.ts';
import { fail } from './failure.ts';
import { Turns } from './turns.ts';

/** A file, directory or link of the browser's storage. */
export class BrowserNode extends FileNode implements Entry<BrowserNode> {
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
  readonly turn = new Turns();

  constructor(name: string, mode: number, ino: number) {
    super(ino, mode);
    this.name = name;
    this.children = this.kind === fileType.DIRECTORY ? new Map() : undefined;
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

/** @throws {FsError} ENOTDIR, ESTALE. */
export function folderOf({ handle, children }: BrowserNode): FileSystemDirectoryHandle {
  if (children === undefined) fail('ENOTDIR');
  return handle?.kind === 'directory' ? handle : fail('ESTALE');
}

/** @throws {FsError} EINVAL for what has no bytes. */
export function fileOf({ handle }: BrowserNode): FileSystemFileHandle {
  return handle?.kind === 'file' ? handle : fail('EINVAL');
}
