import { foreignLibrary } from './koffi.ts';
import type { SystemCalls } from './system-calls.ts';

/** Of mmap(2); the same on every system that Node runs on. */
const protection = { READ: 1, WRITE: 2 } as const;
const mapShared = 1;
/** Of mmap(2) on Linux: memory of nobody else's, in the place of what is there, for which no room is set aside. */
const linuxBlank = 0x2 | 0x10 | 0x20 | 0x4000;
const mapFailed = 2n ** 64n - 1n;

/** Addresses are taken until nobody can reach them any more, so that they never become something else's beneath a view. */
interface Mapped {
  readonly address: bigint;
  readonly length: number;
  /** Those that the engine has not collected. */
  views: number;
  open: boolean;
}

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
  const collected = new FinalizationRegistry<Mapped>((mapped) => {
    mapped.views--;
    if (!mapped.open && mapped.views === 0) munmap(mapped.address, mapped.length);
  });
  /** False where it cannot be had. */
  const blank = ({ address, length }: Mapped): boolean =>
    process.platform === 'linux' &&
    mmap(address, length, protection.READ | protection.WRITE, linuxBlank, -1, 0) !== mapFailed;
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
      const mapped: Mapped = { address, length, views: 0, open: true };
      return {
        view(from, count) {
          const view: ArrayBuffer = koffi.view(address + BigInt(from), count);
          mapped.views++;
          collected.register(view, mapped);
          return view;
        },
        unmap() {
          mapped.open = false;
          if (mapped.views === 0 || !blank(mapped)) munmap(address, length);
        },
      };
    },
    addressOf: (buffer) => koffi.address(buffer),
  };
}
