import { FsError } from 'virtio/devices/fs';
import { HostError } from 'virtio/errors';
import type { FolderCalls } from '../ffi/folder-calls.ts';
import { AT, O } from './linux.ts';
import { ended, numberName } from './names.ts';

/** Descriptors that are left for the rest of the process. */
const spared = 512;
const least = 64;

/**
 * The descriptors that a share holds, and how many it may. One that stands for a file without opening it is opened through
 * `/proc/self/fd`, so that it is this very file, whatever has become of its name.
 */
export class Descriptors {
  readonly calls: FolderCalls;
  readonly limit: number;
  readonly #links: number;
  #count = 0;
  /** Lets go of one that can be had again; false when there is none. */
  spare: () => boolean = () => false;

  /** @throws {HostError} IO_ERROR where there is no `/proc`. */
  constructor(calls: FolderCalls, limit: number | undefined) {
    this.calls = calls;
    const allowed = new BigUint64Array(2);
    calls.getDescriptorLimit(new Uint8Array(allowed.buffer));
    const most = Math.min(Number(allowed[0]), 2 ** 20) - spared;
    this.limit = Math.max(least, Math.min(limit ?? most, most));
    const links = calls.open(AT.FDCWD, ended('/proc/self/fd'), O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
    if (links < 0) throw new HostError('IO_ERROR', 'folders are shared by way of /proc, and none is mounted');
    this.#links = links;
  }

  /** `/proc/self/fd`, in which {@link numberName} of a descriptor stands for what it stands for. */
  get links(): number {
    return this.#links;
  }

  /** @throws {FsError} ENFILE when there may be no more. */
  reserve(): void {
    if (this.#count >= this.limit && !this.spare()) throw new FsError('ENFILE');
    this.#count++;
  }

  /** Gives back what was reserved and is not needed. */
  giveBack(): void {
    this.#count--;
  }

  /** Opens what a descriptor stands for; minus an errno when that fails. What it is has to be known. */
  reopen(fd: number, flags: number): number {
    this.reserve();
    const opened = this.calls.open(this.#links, numberName(fd), flags | O.CLOEXEC, 0);
    if (opened < 0) this.giveBack();
    return opened;
  }

  close(fd: number): void {
    this.calls.close(fd);
    this.giveBack();
  }

  /** Nothing is opened any more. */
  end(): void {
    this.calls.close(this.#links);
  }
}
