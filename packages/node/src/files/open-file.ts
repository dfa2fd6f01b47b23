import type { DataCache, OpenFile } from 'virtio/devices/fs';
import type { Descriptors } from './descriptors.ts';
import type { Inode } from './inodes.ts';
import type { Listing } from './listing.ts';

/** A file or directory that a guest has open. Its descriptor lives until nothing is done with it in another thread any more. */
export class SharedFile implements OpenFile {
  readonly inode: Inode;
  readonly fd: number;
  readonly writable: boolean;
  readonly dataCache: DataCache | undefined;
  /** Of a directory. */
  readonly listing: Listing | undefined;
  readonly #descriptors: Descriptors;
  #uses = 1;

  constructor(
    descriptors: Descriptors,
    inode: Inode,
    fd: number,
    of: { readonly writable?: boolean; readonly dataCache?: DataCache; readonly listing?: Listing } = {},
  ) {
    this.#descriptors = descriptors;
    this.inode = inode;
    this.fd = fd;
    this.writable = of.writable === true;
    this.dataCache = of.dataCache;
    this.listing = of.listing;
  }

  /** True once nobody has it open, whatever is still under way. */
  get closed(): boolean {
    return this.#uses === 0;
  }

  /** Does something that takes time with the descriptor, which is there until it is done. */
  async during<T>(task: (fd: number) => Promise<T>): Promise<T> {
    this.#uses++;
    try {
      return await task(this.fd);
    } finally {
      this.close();
    }
  }

  /** Once for whoever opened it. */
  close(): void {
    this.#uses--;
    if (this.#uses === 0) this.#descriptors.close(this.fd);
  }
}
