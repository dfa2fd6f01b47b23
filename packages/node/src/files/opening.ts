import { FsError } from 'virtio/devices/fs';
import type { FolderCalls } from '../ffi/folder-calls.ts';
import type { Descriptors } from './descriptors.ts';
import { failed } from './failure.ts';
import { O } from './linux.ts';
import { dot } from './names.ts';

const RESOLVE = { NO_XDEV: 1, NO_MAGICLINKS: 2, NO_SYMLINKS: 4, BENEATH: 8 } as const;
const EAGAIN = 11;
const EXDEV = 18;

/**
 * Opens names in directories, one at a time. A name that was checked can lead nowhere else, since no link is followed;
 * where Linux has openat2 it is told so once more, and keeps to one mount by itself.
 */
export class Opening {
  readonly #calls: FolderCalls;
  readonly #descriptors: Descriptors;
  /** `struct open_how`. */
  readonly #how = new BigUint64Array(3);
  readonly #howBytes = new Uint8Array(this.#how.buffer);
  readonly #hasHow: boolean;

  constructor(descriptors: Descriptors, entersMounts: boolean, root: number) {
    this.#calls = descriptors.calls;
    this.#descriptors = descriptors;
    const within = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS;
    this.#how[2] = BigInt(within | (entersMounts ? 0 : RESOLVE.NO_XDEV));
    this.#how[0] = BigInt(O.PATH | O.CLOEXEC);
    const probe = this.#calls.openHow(root, dot, this.#howBytes);
    this.#hasHow = probe >= 0;
    if (probe >= 0) this.#calls.close(probe);
  }

  /** A descriptor that stands for what the name does, or minus an errno. */
  stand(folder: number, name: Uint8Array): number {
    return this.open(folder, name, O.PATH, 0);
  }

  /**
   * Opens what the name stands for; minus an errno when that fails.
   *
   * @throws {FsError} EACCES for a mount point that is not to be entered, ENFILE
   */
  open(folder: number, name: Uint8Array, flags: number, mode: number): number {
    this.#descriptors.reserve();
    const all = flags | O.NOFOLLOW | O.CLOEXEC;
    let fd: number;
    if (this.#hasHow) {
      this.#how[0] = BigInt(all);
      this.#how[1] = BigInt(mode);
      do fd = this.#calls.openHow(folder, name, this.#howBytes);
      while (fd === -EAGAIN);
    } else {
      fd = this.#calls.open(folder, name, all, mode);
    }
    if (fd >= 0) return fd;
    this.#descriptors.giveBack();
    if (fd === -EXDEV) throw new FsError('EACCES');
    return fd;
  }

  /** As `open`, for what has to succeed. */
  mustOpen(folder: number, name: Uint8Array, flags: number, mode: number): number {
    const fd = this.open(folder, name, flags, mode);
    if (fd < 0) throw failed(fd);
    return fd;
  }
}
