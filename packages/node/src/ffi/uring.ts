import { foreignLibrary } from './koffi.ts';
import type { UringCalls } from './system-calls.ts';

/** The same on every architecture. */
const number = { setup: 425, enter: 426, register: 427 } as const;

let loaded: UringCalls | undefined;

/** The calls of io_uring, for which the C library has no functions. Linux alone. */
export function uringCalls(): UringCalls {
  loaded ??= load();
  return loaded;
}

function load(): UringCalls {
  const { declare } = foreignLibrary();
  // Declared once for each shape: what is passed in registers is passed alike, however many there may be.
  const setup = declare('int64_t syscall(int64_t number, uint32_t entries, void *params)');
  const enter = declare(
    'int64_t syscall(int64_t number, int fd, uint32_t submit, uint32_t wait, uint32_t flags, void *set, size_t size)',
  );
  const register = declare(
    'int64_t syscall(int64_t number, int fd, uint32_t what, void *argument, uint32_t count)',
  );
  return {
    setup: (entries, params) => setup(number.setup, entries, params),
    enter: (fd, submit) => enter(number.enter, fd, submit, 0, 0, null, 0),
    register: (fd, what, argument, count) => register(number.register, fd, what, argument, count),
  };
}
