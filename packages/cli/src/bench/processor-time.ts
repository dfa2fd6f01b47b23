import { readdirSync, readFileSync } from 'node:fs';

/**
 * Seconds of processor time that a process has used with all of its threads that still run; `undefined` where this
 * system does not tell, or not us.
 */
export function processorTime(pid: number): number | undefined {
  try {
    let nanoseconds = 0;
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
    }
    return nanoseconds / 1e9;
  } catch {
    // It ended, or belongs to somebody else, or there is no /proc.
    return undefined;
  }
}

/** Seconds of processor time of this process. */
export function ownProcessorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
