import { UsageError } from '../../errors.ts';
import { sectorSize } from './spec.ts';
import type { Storage } from './storage.ts';

/** A disk in memory. */
export interface MemoryStorage extends Storage {
  /** All bytes of the disk: the storage itself, not a copy. */
  readonly bytes: Uint8Array;
  /** Cuts or grows the disk; new bytes are 0. Tell the device afterwards: `updateCapacity`. */
  resize(size: number): void;
  read(offset: number, target: Uint8Array): void;
  write(offset: number, source: Uint8Array): void;
  flush(): void;
}

/**
 * A disk in memory: of so many bytes, all 0, or over bytes that exist, which are used in place.
 *
 * @throws {UsageError} BAD_ARGUMENT when the size is not a positive multiple of 512.
 */
export function memoryStorage(
  sizeOrBytes: number | Uint8Array,
  options: { readonly readOnly?: boolean } = {},
): MemoryStorage {
  let bytes = typeof sizeOrBytes === 'number' ? new Uint8Array(checkedSize(sizeOrBytes)) : sizeOrBytes;
  checkedSize(bytes.length);
  const clear = (offset: number, length: number): void => {
    bytes.fill(0, offset, offset + length);
  };
  return {
    readOnly: options.readOnly ?? false,
    immediate: true,
    get size() {
      return bytes.length;
    },
    get bytes() {
      return bytes;
    },
    resize(size) {
      const next = new Uint8Array(checkedSize(size));
      next.set(bytes.subarray(0, size));
      bytes = next;
    },
    read(offset, target) {
      target.set(bytes.subarray(offset, offset + target.length));
    },
    write(offset, source) {
      bytes.set(source, offset);
    },
    flush() {},
    discard: clear,
    writeZeroes: clear,
    secureErase: clear,
  };
}

function checkedSize(size: number): number {
  if (!Number.isSafeInteger(size) || size <= 0 || size % sectorSize !== 0) {
    throw new UsageError('BAD_ARGUMENT', `a disk of ${size} bytes: it must be a multiple of ${sectorSize}`);
  }
  return size;
}
