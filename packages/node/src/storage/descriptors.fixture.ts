import { readdirSync, readlinkSync } from 'node:fs';

/** What the descriptors of this process stand for, on Linux. */
export const openFiles = (): ReadonlyMap<number, string> =>
  new Map(readdirSync('/proc/self/fd').map((fd) => [Number(fd), linkOf(fd)]));

/** The descriptor of a file that is open; -1 where it is not. */
export function descriptorOf(path: string): number {
  for (const [fd, target] of openFiles()) if (target === path) return fd;
  return -1;
}

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return ''; // that of the listing itself
  }
}
