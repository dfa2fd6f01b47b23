import { UsageError } from '../errors.ts';

/** The largest part of guest memory that one view covers, in bytes: what every engine can address in one buffer. */
export const maxViewLength: number = 2 ** 32;

/** Bytes that back a region: a whole buffer or a part of it. */
export interface Backing {
  readonly buffer: ArrayBufferLike;
  /** Bytes from the start of the buffer; 0 unless told. */
  readonly byteOffset?: number;
  /** Bytes; to the end of the buffer unless told. At most 4 GiB. */
  readonly byteLength?: number;
}

/** What the host knows of a region's bytes. */
export interface RegionOptions {
  /** Neither the host nor the engine ever moves or detaches the bytes; false unless told. */
  readonly pinned?: boolean;
  /**
   * Another thread or process uses the bytes while we run, so ring fields need atomic access. True for a
   * SharedArrayBuffer unless told; a host that maps memory of another process must say so.
   */
  readonly shared?: boolean;
}

/**
 * A contiguous range of guest-physical addresses that one view covers. It is made by
 * `GuestMemory.addRegion`; whoever holds one keeps it over a remap and sees the new bytes.
 */
export class Region {
  // A field that starts as a number stays one to the engine, and comparisons with it need no look at its type.

  /** The guest-physical address of its first byte. */
  readonly start: number = 0;
  /** Bytes. */
  readonly length: number = 0;
  /** The first address behind the region. */
  readonly end: number = 0;
  /** True when neither the host nor the engine ever moves or detaches the bytes. */
  readonly pinned: boolean;
  /** True when another thread or process reads and writes the bytes while we run. */
  readonly shared: boolean;
  /** Replaced by a remap; empty after the region was removed. */
  view: DataView;
  /** The same bytes as `view`. */
  bytes: Uint8Array;
  /** The same bytes in whole words of the host's byte order; none where the bytes are not aligned to 4. */
  words: Uint32Array;
  /** True once the region was taken out of its memory. */
  removed = false;

  constructor(start: number, backing: Backing, options: RegionOptions = {}) {
    this.start = start;
    this.bytes = viewOf(backing);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
    this.words = wordsOf(this.bytes);
    this.length = this.bytes.byteLength;
    this.end = start + this.length;
    this.pinned = options.pinned ?? false;
    this.shared = options.shared ?? isSharedBuffer(backing.buffer);
    this.#checkAlignment();
  }

  /** @internal Called by GuestMemory alone. */
  replace(backing: Backing | undefined): void {
    this.removed = backing === undefined;
    this.bytes = backing === undefined ? new Uint8Array(0) : viewOf(backing);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
    this.words = wordsOf(this.bytes);
    if (!this.removed) this.#checkAlignment();
  }

  /** Ring fields in shared memory are reached by Atomics, which cannot reach an odd address. */
  #checkAlignment(): void {
    if (this.shared && (this.start % 4 !== 0 || this.bytes.byteOffset % 4 !== 0)) {
      throw new UsageError(
        'BAD_ARGUMENT',
        'shared memory must start at a multiple of 4, in its buffer as well',
      );
    }
  }
}

/** @internal A region that holds no address. */
export const nowhere: Region = new Region(-1, { buffer: new ArrayBuffer(0) }, { pinned: true });

/** A page that is not isolated has no SharedArrayBuffer, hence none to tell apart. */
function isSharedBuffer(buffer: ArrayBufferLike): boolean {
  return typeof SharedArrayBuffer !== 'undefined' && buffer instanceof SharedArrayBuffer;
}

function viewOf(backing: Backing): Uint8Array {
  const byteOffset = backing.byteOffset ?? 0;
  const byteLength = backing.byteLength ?? backing.buffer.byteLength - byteOffset;
  if (byteLength > maxViewLength) {
    throw new UsageError('BAD_ARGUMENT', `a region of ${byteLength} bytes exceeds one view; cut it at 4 GiB`);
  }
  return new Uint8Array(backing.buffer, byteOffset, byteLength);
}

function wordsOf(bytes: Uint8Array): Uint32Array {
  if (bytes.byteOffset % 4 !== 0) return new Uint32Array(0);
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
}
