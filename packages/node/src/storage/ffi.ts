import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';

/** The system calls that Node does not have. Each gives 0, or the errno of its failure. */
export interface SystemCalls {
  /** Locks a whole file for this open of it; the kernel lets go when the process dies. */
  flock(fd: number, operation: number): number;
  /** Linux alone; `undefined` elsewhere. Offsets and lengths in bytes. */
  readonly fallocate: ((fd: number, mode: number, offset: number, length: number) => number) | undefined;
}

let loaded: SystemCalls | undefined;

/** Loads the foreign function library at its first use, not before. */
export function systemCalls(): SystemCalls {
  loaded ??= load();
  return loaded;
}

function load(): SystemCalls {
  // The library is CommonJS and loads a binary: `require` can do that in the middle of a function.
  const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
  const libc = koffi.load(null);
  const errnoOf = (result: number): number => (result === 0 ? 0 : koffi.errno());
  const flock = libc.func('int flock(int fd, int operation)');
  const fallocate =
    process.platform === 'linux'
      ? libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)')
      : undefined;
  return {
    flock: (fd, operation) => errnoOf(flock(fd, operation)),
    fallocate: fallocate && ((fd, mode, offset, length) => errnoOf(fallocate(fd, mode, offset, length))),
  };
}
