import { isMainThread } from 'node:worker_threads';
import { HostError } from 'virtio/errors';
import { eventLoopCalls } from '../ffi/event-loop.ts';
import { linuxCalls } from '../ffi/linux.ts';
import type { EventLoopCalls, LinuxCalls, Poller } from '../ffi/system-calls.ts';
import { failure } from './failure.ts';
import { WorkerLoop } from './worker-loop.ts';

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
 * A place in the event loop of this thread for a descriptor, not started.
 *
 * @throws {HostError} IO_ERROR for what cannot be waited for.
 */
export function pollerFor(fd: number, ready: (status: number, events: number) => void): Poller {
  const poller = eventLoop().poller(fd, ready);
  if (typeof poller === 'number') throw failure(poller, `descriptor ${fd} cannot be waited for`);
  return poller;
}

let loop: EventLoopCalls | undefined;

function eventLoop(): EventLoopCalls {
  if (loop !== undefined) return loop;
  linux();
  const opened = isMainThread ? eventLoopCalls() : WorkerLoop.open();
  if (typeof opened === 'number') throw failure(opened, 'this worker cannot wait for descriptors');
  loop = opened;
  return loop;
}
