import { isMainThread } from 'node:worker_threads';
import { HostError } from 'virtio/errors';
import { eventLoopCalls } from '../ffi/event-loop.ts';
import { linuxCalls } from '../ffi/linux.ts';
import type { LinuxCalls, Poller } from '../ffi/system-calls.ts';
import { failure } from './failure.ts';

/** Processors of 32 bits lay the structures of sockets out in another way. */
const wideProcessors = ['x64', 'arm64', 'riscv64', 'loong64', 's390x', 'ppc64'];

/** @throws {HostError} IO_ERROR where there is no Linux of 64 bits. */
export function linux(): LinuxCalls {
  if (process.platform !== 'linux' || !wideProcessors.includes(process.arch)) {
    throw new HostError(
      'IO_ERROR',
      `descriptors between processes need Linux on a 64-bit processor; this is ${process.platform} on ${process.arch}`,
    );
  }
  return linuxCalls();
}

/**
 * A place in the event loop for a descriptor, not started.
 *
 * @throws {HostError} IO_ERROR in a worker, whose loop cannot be reached safely, and for what cannot be waited for.
 */
export function pollerFor(fd: number, ready: (status: number, events: number) => void): Poller {
  linux();
  if (!isMainThread) {
    throw new HostError(
      'IO_ERROR',
      'a worker has no event loop for descriptors: watch them in the main thread, which shares all of them',
    );
  }
  const poller = eventLoopCalls().poller(fd, ready);
  if (typeof poller === 'number') throw failure(poller, `descriptor ${fd} cannot be waited for`);
  return poller;
}
