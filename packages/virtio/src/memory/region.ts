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

/**
 * A contiguous range of guest-physical addresses that one view covers. It is made by
 * `GuestMemory.addRegion`; whoever holds one keeps it over a remap and sees the new bytes.
 */
export class Region {
  /** The guest-physical address of its first byte. */
  readonly start: number;
  /** Bytes. */
  readonly length: number;
  /** True when neither the host nor the engine ever moves or detaches the bytes. */
  readonly pinned: boolean;
  /** Replaced by a remap; empty after the region was removed. */
  view: DataView;
  /** The same bytes as `view`. */
  bytes: Uint8Array;

  constructor(start: number, backing: Backing, pinned: boolean) {
    this.start = start;
    this.bytes = viewOf(backing);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
    this.length = this.bytes.byteLength;
    this.pinned = pinned;
  }

  /** The first address behind the region. */
  get end(): number {
    return this.start + this.length;
  }

  /** @internal Called by GuestMemory alone. */
  replace(backing: Backing | undefined): void {
    this.bytes = backing === undefined ? new Uint8Array(0) : viewOf(backing);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
  }
}

function viewOf(backing: Backing): Uint8Array {
  const byteOffset = backing.byteOffset ?? 0;
  const byteLength = backing.byteLength ?? backing.buffer.byteLength - byteOffset;
  if (byteLength > maxViewLength) {
    throw new UsageError('BAD_ARGUMENT', `a region of ${byteLength} bytes exceeds one view; cut it at 4 GiB`);
  }
  return new Uint8Array(backing.buffer, byteOffset, byteLength);
}
