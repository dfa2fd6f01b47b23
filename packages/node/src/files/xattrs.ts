import { decodeName, FsError } from 'virtio/devices/fs';
import type { FolderCalls } from '../ffi/folder-calls.ts';
import { checked, failed } from './failure.ts';
import { ended, nameBytes, numberName } from './names.ts';

/** The only ones that a guest has a say in: what others mean, the host's kernel decides by. */
const prefix = 'user.';
const longest = 65_536;
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
const ENODATA = 61;
const ENOTSUP = 95;

const room = new Uint8Array(longest);
/** A descriptor of O_PATH has none itself, but stands here for the file that has. */
const link = new Uint8Array(32);
link.set(ended('/proc/self/fd/'));

/** Extended attributes of what a descriptor stands for. */
export class Xattrs {
  readonly #calls: FolderCalls;

  constructor(calls: FolderCalls) {
    this.#calls = calls;
  }

  get(fd: number, name: string): Uint8Array | undefined {
    if (!name.startsWith(prefix)) throw new FsError('EOPNOTSUPP');
    const result = this.#calls.getXattr(pathOf(fd), nameBytes(name), room, longest);
    if (result === -ENODATA) return undefined;
    return room.slice(0, checked(result));
  }

  list(fd: number): string[] {
    const result = this.#calls.listXattr(pathOf(fd), room, longest);
    if (result === -ENOTSUP) return [];
    const names: string[] = [];
    const length = checked(result);
    for (let from = 0; from < length; ) {
      const end = room.indexOf(0, from);
      const name = decodeName(room, from, end);
      if (name.startsWith(prefix)) names.push(name);
      from = end + 1;
    }
    return names;
  }

  set(fd: number, name: string, value: Uint8Array, how: { create: boolean; replace: boolean }): void {
    if (!name.startsWith(prefix)) throw new FsError('EOPNOTSUPP');
    const flags = (how.create ? XATTR_CREATE : 0) | (how.replace ? XATTR_REPLACE : 0);
    // What is guest memory may lie where a pointer to it is none.
    room.set(value);
    const result = this.#calls.setXattr(pathOf(fd), nameBytes(name), room, value.length, flags);
    if (result < 0) throw failed(result);
  }

  remove(fd: number, name: string): void {
    if (!name.startsWith(prefix)) throw new FsError('EOPNOTSUPP');
    const result = this.#calls.removeXattr(pathOf(fd), nameBytes(name));
    if (result < 0) throw failed(result);
  }
}

function pathOf(fd: number): Uint8Array {
  link.set(numberName(fd), '/proc/self/fd/'.length);
  return link;
}
