import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Caller, DirectorySink } from 'virtio/devices/fs';
import type { FolderTree } from './index.ts';
import type { Inode } from './inodes.ts';

/** Root of the guest. */
export const root: Caller = { uid: 0, gid: 0, pid: 1 };

/** A folder that is gone with `remove`. */
export class TemporaryFolder {
  readonly path: string = mkdtempSync(join(tmpdir(), 'virtio-files-'));

  at(...names: readonly string[]): string {
    return join(this.path, ...names);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** The inode at the end of these names. */
export function walk(tree: FolderTree, ...names: readonly string[]): Inode {
  let node = tree.root;
  for (const name of names) {
    const entry = tree.lookup(node, name);
    if (entry === undefined) throw new Error(`there is no ${name}`);
    node = entry.node;
  }
  return node;
}

/** Names in a directory without `.` and `..`, as a guest with room for so many at a time gets them. */
export function list(tree: FolderTree, node: Inode, room: number): string[] {
  const file = tree.openDirectory(node);
  const names: string[] = [];
  for (let offset = 0; ; ) {
    let left = room;
    const sink: DirectorySink = {
      add(name, _ino, _type, next) {
        if (left === 0) return false;
        left--;
        names.push(name);
        offset = next;
        return true;
      },
    };
    tree.readDirectory(file, offset, sink);
    if (left === room) break;
  }
  tree.release(file);
  return names.filter((name) => name !== '.' && name !== '..');
}
