import { HostError, UsageError } from '../../errors.ts';
import type { FileBytes, LentRange } from './file-bytes.ts';
import type { MemoryFile } from './memory-inode.ts';
import { FsError } from './spec-errno.ts';
import type { FileMapping, FsWindow } from './window.ts';

const pageSize = 4096;

/**
 * A DAX window for files in memory: bytes that the driver sees as shared memory region 0. What is mapped to be written has
 * its place in them; nothing is copied but when a mapping is made and when it is taken away.
 */
export class MemoryWindow implements FsWindow<MemoryFile> {
  readonly bytes: Uint8Array;
  readonly alignment: number = pageSize;
  readonly #shown = new Map<number, { readonly data: FileBytes; readonly range: LentRange }>();

  /** @internal Use {@link memoryWindow}. */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get length(): number {
    return this.bytes.length;
  }

  map({ offset, length, file, from, writable }: FileMapping<MemoryFile>): void {
    const { data } = file.inode;
    if (data === undefined) throw FsError.of('ENODEV');
    const range = data.lend(from, this.bytes.subarray(offset, offset + length), writable);
    this.#shown.set(offset, { data, range });
  }

  unmap({ offset }: FileMapping<MemoryFile>): void {
    const shown = this.#shown.get(offset);
    this.#shown.delete(offset);
    if (shown === undefined) return;
    shown.data.takeBack(shown.range);
    // Of no file any more: what stood there is nothing for whoever looks.
    shown.range.bytes.fill(0);
  }

  /** Reads as the driver does. @throws {HostError} IO_ERROR where the window ends. */
  read(offset: number, target: Uint8Array): void {
    target.set(this.#part(offset, target.length));
  }

  /** Writes as the driver does. @throws {HostError} IO_ERROR where the window ends. */
  write(offset: number, source: Uint8Array): void {
    this.#part(offset, source.length).set(source);
  }

  #part(offset: number, length: number): Uint8Array {
    if (offset >= 0 && offset + length <= this.length) return this.bytes.subarray(offset, offset + length);
    throw new HostError('IO_ERROR', `${length} bytes at ${offset} are not within the window`);
  }
}

/**
 * A window over memory, or over so many bytes of its own: for `fsDevice` with `memoryFiles()`, and for `openFs` at the other
 * end of a loopback.
 *
 * @throws {UsageError} BAD_ARGUMENT for what is no number of pages of 4096 bytes.
 */
export function memoryWindow(over: Uint8Array | number): MemoryWindow {
  const length = typeof over === 'number' ? over : over.length;
  if (!Number.isSafeInteger(length) || length <= 0 || length % pageSize !== 0) {
    throw new UsageError('BAD_ARGUMENT', `a window of ${length} bytes: give a multiple of 4096`);
  }
  return new MemoryWindow(typeof over === 'number' ? new Uint8Array(length) : over);
}
