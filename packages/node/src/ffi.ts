import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';

/** The system calls that Node does not have. Each gives 0, or the errno of its failure. */
export interface SystemCalls {
  /** Locks a whole file for this open of it; the kernel lets go when the process dies. */
  flock(fd: number, operation: number): number;
  /** Linux alone; `undefined` elsewhere. Offsets and lengths in bytes. */
  readonly fallocate: ((fd: number, mode: number, offset: number, length: number) => number) | undefined;
  /** Maps bytes of a file, to be read and written and shared with other processes. A number is the errno of its failure. */
  mapShared(fd: number, offset: number, length: number): Mapping | number;
}

/** A mapped part of a file. */
export interface Mapping {
  readonly buffer: ArrayBuffer;
  /** Takes the bytes away. Whoever touches `buffer` then crashes the process. */
  unmap(): void;
}

/** Of mmap(2); the same on every system that Node runs on. */
const protection = { READ: 1, WRITE: 2 } as const;
const mapShared = 1;
const mapFailed = 2n ** 64n - 1n;

let loaded: SystemCalls | undefined;

/** Loads the foreign function library at its first use, not before. */
export function systemCalls(): SystemCalls {
  loaded ??= load();
  return loaded;
}

/** The foreign function library, and this process with the C library in it: for the files beside this one that declare calls. */
export interface Foreign {
  readonly koffi: typeof Koffi;
  readonly libc: Koffi.LibraryHandle;
}

let foreign: Foreign | undefined;

/** Loads the foreign function library at its first use, not before. */
export function foreignLibrary(): Foreign {
  if (foreign === undefined) {
    // The library is CommonJS and loads a binary: `require` can do that in the middle of a function.
    const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
    foreign = { koffi, libc: koffi.load(null) };
  }
  return foreign;
}

function load(): SystemCalls {
  const { koffi, libc } = foreignLibrary();
  const errnoOf = (result: number): number => (result === 0 ? 0 : koffi.errno());
  const flock = libc.func('int flock(int fd, int operation)');
  const fallocate =
    process.platform === 'linux'
      ? libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)')
      : undefined;
  // The parameters are 64 bits wide on every 64-bit system.
  const mmap = libc.func(
    'void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)',
  );
  const munmap = libc.func('int munmap(void *addr, size_t length)');
  return {
    flock: (fd, operation) => errnoOf(flock(fd, operation)),
    fallocate: fallocate && ((fd, mode, offset, length) => errnoOf(fallocate(fd, mode, offset, length))),
    mapShared(fd, offset, length) {
      const address: bigint = mmap(null, length, protection.READ | protection.WRITE, mapShared, fd, offset);
      if (address === mapFailed) return koffi.errno();
      return { buffer: koffi.view(address, length), unmap: () => void munmap(address, length) };
    },
  };
}
