import { FsError } from 'virtio/devices/fs';
import type { FolderCalls } from '../ffi/folder-calls.ts';
import type { Descriptors } from './descriptors.ts';
import { failed } from './failure.ts';
import { AT, O, S } from './linux.ts';
import { noName } from './names.ts';
import { readStatus, status } from './status.ts';

/** A file of the folder that a guest knows of, held by a descriptor that stands for it and opens nothing (O_PATH). */
export class Inode {
  /** Minus one while it is let go of. */
  fd: number;
  /** Its type, as in a mode. */
  readonly type: number;
  readonly place: Place;
  readonly ino: number;
  /** What it is found again by while its descriptor is let go of. */
  handle: Uint8Array | undefined;
  /** How often it was found, less how often that was given back. */
  uses = 0;
  /** It is the root of another mount than the directory's in which it was found. */
  isMount = false;

  constructor(fd: number, type: number, place: Place, ino: number) {
    this.fd = fd;
    this.type = type;
    this.place = place;
    this.ino = ino;
  }
}

/** A mount of a file system: inode numbers are told apart by it. */
class Place {
  readonly mount: number;
  readonly device: number;
  readonly inodes = new Map<number, Inode>();
  /** Whether its file system can say that a read would wait. */
  tellsOfWaiting = true;
  /** An open directory of it, where handles are good for something. */
  anchor = -1;

  constructor(mount: number, device: number) {
    this.mount = mount;
    this.device = device;
  }
}

/** `struct file_handle`: its length, its type, and bytes, of which there are 128 at most. */
const handleHead = 8;
const handleRoom = 128;

/**
 * All files that a guest knows of, each once, by where it is. When there are more than descriptors, those that were opened
 * first are let go of, and found again by their handles; Linux lets only a privileged process do that.
 */
export class Inodes {
  readonly #descriptors: Descriptors;
  readonly #calls: FolderCalls;
  readonly #places: Place[] = [];
  /** Inodes with a descriptor that can be had again, the one that was opened first in front. */
  readonly #spare = new Set<Inode>();
  readonly root: Inode;

  /** @param root a descriptor of the root, which is taken over */
  constructor(descriptors: Descriptors, root: number) {
    this.#descriptors = descriptors;
    this.#calls = descriptors.calls;
    descriptors.reserve();
    const result = readStatus(this.#calls, root);
    if (result < 0) throw failed(result);
    this.root = this.#add(root);
    this.#spare.delete(this.root);
    descriptors.spare = () => this.#letGo();
  }

  /** The inode that {@link status} tells of, used once more; `fd`, which it was read from, is taken over. */
  take(fd: number): Inode {
    const inode = this.#find(fd);
    inode.uses++;
    return inode;
  }

  #find(fd: number): Inode {
    const { mount, device, ino } = status;
    const known = this.#place(mount, device)?.inodes.get(ino);
    if (known === undefined) return this.#add(fd);
    if (known.fd >= 0) {
      this.#descriptors.close(fd);
      return known;
    }
    const handle = this.handleOf(fd);
    // The number may be another file's by now.
    if (!equal(handle, known.handle)) return this.#add(fd);
    known.fd = fd;
    this.#spare.add(known);
    return known;
  }

  /**
   * The descriptor of an inode.
   *
   * @throws {FsError} ESTALE when the file is gone.
   */
  descriptor(inode: Inode): number {
    return inode.fd >= 0 ? inode.fd : this.#findAgain(inode);
  }

  /** Gives uses back; true when nobody knows the inode any more. */
  giveBack(inode: Inode, uses: number): boolean {
    inode.uses -= uses;
    if (inode.uses > 0 || inode === this.root) return false;
    this.#forget(inode);
    return true;
  }

  #forget(inode: Inode): void {
    const { inodes } = inode.place;
    if (inodes.get(inode.ino) === inode) inodes.delete(inode.ino);
    this.#spare.delete(inode);
    if (inode.fd >= 0) this.#descriptors.close(inode.fd);
    inode.fd = -1;
    inode.handle = undefined;
  }

  close(): void {
    for (const { inodes, anchor } of this.#places) {
      for (const inode of [...inodes.values()]) this.#forget(inode);
      if (anchor >= 0) this.#descriptors.close(anchor);
    }
    this.#places.length = 0;
  }

  #add(fd: number): Inode {
    const { mount, device, ino, mode } = status;
    const place = this.#place(mount, device) ?? this.#addPlace(fd, mount, device, mode);
    const inode = new Inode(fd, mode & S.IFMT, place, ino);
    place.inodes.set(ino, inode);
    if (place.anchor >= 0) this.#spare.add(inode);
    return inode;
  }

  #place(mount: number, device: number): Place | undefined {
    return this.#places.find((place) => place.mount === mount && place.device === device);
  }

  #addPlace(fd: number, mount: number, device: number, mode: number): Place {
    const place = new Place(mount, device);
    this.#places.push(place);
    if ((mode & S.IFMT) !== S.IFDIR) return place;
    const anchor = this.#descriptors.reopen(fd, O.DIRECTORY);
    const handle = anchor < 0 ? undefined : this.handleOf(fd);
    const again = handle === undefined ? -1 : this.#calls.openHandle(anchor, handle, O.PATH | O.CLOEXEC);
    if (again >= 0) {
      this.#calls.close(again);
      place.anchor = anchor;
    } else if (anchor >= 0) {
      this.#descriptors.close(anchor);
    }
    return place;
  }

  /** What Linux tells a file by from all others of its file system, those to come too; not every one has it. */
  handleOf(fd: number): Uint8Array | undefined {
    const handle = new Uint8Array(handleHead + handleRoom);
    const head = new DataView(handle.buffer);
    head.setUint32(0, handleRoom, true);
    const result = this.#calls.handleOf(fd, noName, handle, new Int32Array(1), AT.EMPTY_PATH);
    return result < 0 ? undefined : handle.slice(0, handleHead + head.getUint32(0, true));
  }

  #letGo(): boolean {
    for (const inode of this.#spare) {
      this.#spare.delete(inode);
      inode.handle = this.handleOf(inode.fd);
      if (inode.handle === undefined) continue;
      this.#descriptors.close(inode.fd);
      inode.fd = -1;
      return true;
    }
    return false;
  }

  #findAgain(inode: Inode): number {
    if (inode.handle === undefined) throw new FsError('ESTALE');
    this.#descriptors.reserve();
    const fd = this.#calls.openHandle(inode.place.anchor, inode.handle, O.PATH | O.NOFOLLOW | O.CLOEXEC);
    if (fd < 0) {
      this.#descriptors.giveBack();
      throw failed(fd);
    }
    inode.fd = fd;
    this.#spare.add(inode);
    return fd;
  }
}

function equal(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && Buffer.compare(a, b) === 0;
}
