import { foreignLibrary } from './koffi.ts';
import type { SystemCalls } from './system-calls.ts';

/** Of mmap(2); the same on every system that Node runs on. */
const protection = { READ: 1, WRITE: 2 } as const;
const mapShared = 1;
const mapFailed = 2n ** 64n - 1n;

let loaded: SystemCalls | undefined;

/** The calls for files and memory. */
export function systemCalls(): SystemCalls {
  loaded ??= load();
  return loaded;
}

function load(): SystemCalls {
  const { koffi, libc, declare } = foreignLibrary();
  // The parameters are 64 bits wide on every 64-bit system.
  const mmap = libc.func(
    'void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)',
  );
  const munmap = libc.func('int munmap(void *addr, size_t length)');
  const getpagesize = libc.func('int getpagesize()');
  return {
    flock: declare('int flock(int fd, int operation)'),
    fallocate:
      process.platform === 'linux'
        ? declare('int fallocate(int fd, int mode, int64_t offset, int64_t length)')
        : undefined,
    pageSize: () => getpagesize(),
    mapShared(fd, offset, length) {
      const address: bigint = mmap(null, length, protection.READ | protection.WRITE, mapShared, fd, offset);
      if (address === mapFailed) return -koffi.errno();
      return {
        view: (from, count) => koffi.view(address + BigInt(from), count),
        unmap: () => void munmap(address, length),
      };
    },
    addressOf: (buffer) => koffi.address(buffer),
  };
}
