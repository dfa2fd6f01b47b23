import type { Region } from './region.ts';

/** What this machine's typed arrays read; DataView asks, typed arrays do not. */
const hostIsLittle = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/**
 * A part of guest memory that driver and device both use, as one contiguous view. This file alone knows about
 * ordering: `view` is for bytes that an acquire or a release has put in order, the four operations are for
 * the fields that do so.
 *
 * Memory that another thread or process uses goes through Atomics, which are sequentially consistent: what
 * was written before a release is seen by whoever acquires it, and a release is never passed by a later
 * acquire, which is the barrier that notification suppression asks for. Memory that this thread alone uses
 * needs none of it; plain access costs 1 to 2 ns where `Atomics.load` costs 7 to 10.
 */
export class OrderedView {
  /** Plain access, with `little` as the byte order. */
  readonly view: DataView;
  readonly little: boolean;
  readonly #halves: Uint16Array | undefined;
  readonly #words: Uint32Array | undefined;
  readonly #swapped: boolean;

  /** `offset` and `length` in bytes, inside the region. */
  constructor(region: Region, offset: number, length: number, endian: 'little' | 'big' = 'little') {
    const { buffer, byteOffset } = region.bytes;
    this.view = new DataView(buffer, byteOffset + offset, length);
    this.little = endian === 'little';
    this.#swapped = this.little !== hostIsLittle;
    this.#halves = region.shared ? new Uint16Array(buffer, byteOffset + offset, length >>> 1) : undefined;
    const hasWords = region.shared && offset % 4 === 0;
    this.#words = hasWords ? new Uint32Array(buffer, byteOffset + offset, length >>> 2) : undefined;
  }

  /** Reads the 16-bit field at `offset`, a multiple of 2; nothing read later is older. */
  loadAcquire16(offset: number): number {
    if (this.#halves === undefined) return this.view.getUint16(offset, this.little);
    const value = Atomics.load(this.#halves, offset >>> 1);
    return this.#swapped ? swap16(value) : value;
  }

  /** Writes the 16-bit field at `offset`, a multiple of 2, after everything that was written before. */
  storeRelease16(offset: number, value: number): void {
    if (this.#halves === undefined) this.view.setUint16(offset, value, this.little);
    else Atomics.store(this.#halves, offset >>> 1, this.#swapped ? swap16(value) : value);
  }

  /** Reads the 32-bit field at `offset`, a multiple of 4 in an area that is aligned to 4. */
  loadAcquire32(offset: number): number {
    if (this.#words === undefined) return this.view.getUint32(offset, this.little);
    const value = Atomics.load(this.#words, offset >>> 2);
    return this.#swapped ? swap32(value) : value;
  }

  /** Writes the 32-bit field at `offset`, a multiple of 4 in an area that is aligned to 4. */
  storeRelease32(offset: number, value: number): void {
    if (this.#words === undefined) this.view.setUint32(offset, value, this.little);
    else Atomics.store(this.#words, offset >>> 2, this.#swapped ? swap32(value) : value);
  }
}

const swap16 = (value: number): number => ((value & 0xff) << 8) | ((value >>> 8) & 0xff);

const swap32 = (value: number): number => ((swap16(value & 0xffff) << 16) | swap16(value >>> 16)) >>> 0;
