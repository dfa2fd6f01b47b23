/**
 * Where the bytes of a disk are. A back end is this and no more; what a device makes of it (caching,
 * geometry, zones) is the device's affair. Offsets and lengths are bytes, and always whole sectors of 512
 * within `size`. A method that fails throws, or rejects, a HostError; the driver is told of an I/O error.
 */
export interface Storage {
  /** Bytes; a multiple of 512. When it changes, tell the device: `updateCapacity`. */
  readonly size: number;
  readonly readOnly: boolean;
  /**
   * True when `read` and `write` are done when they return: they may then be given guest memory itself.
   * Otherwise they return a promise and are given buffers that are theirs until it settles.
   */
  readonly immediate: boolean;
  /** True when room can be given back to what lies beneath: by `discard`, by `writeZeroes` with `mayUnmap`. */
  readonly sparse?: boolean;
  /** Fills `target` from `offset`. */
  read(offset: number, target: Uint8Array): void | Promise<void>;
  /** Stores `source` at `offset`. It need not be stable before `flush`. */
  write(offset: number, source: Uint8Array): void | Promise<void>;
  /** Makes every write that completed before this call stable. May take its time even when `immediate`. */
  flush(): void | Promise<void>;
  /** Forgets the bytes; they read as anything afterwards. Absent: the storage cannot. */
  discard?(offset: number, length: number): void | Promise<void>;
  /** Makes the bytes read as 0; with `mayUnmap` their room may be given back. Absent: zeroes are written. */
  writeZeroes?(offset: number, length: number, mayUnmap: boolean): void | Promise<void>;
  /** Makes the bytes irrecoverable. Absent: the storage cannot. */
  secureErase?(offset: number, length: number): void | Promise<void>;
  /** Lets go of what lies beneath. Nothing is called afterwards. */
  close?(): void | Promise<void>;
}
