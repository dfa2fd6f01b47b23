import { readdir, readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly state: string;
}

/** All processes that this one has started, and those that they have. */
export async function descendants(ancestor: number): Promise<number[]> {
  const all: Process[] = [];
  for (const name of await readdir('/proc')) {
    const one = /^\d+$/.test(name) ? await processOf(Number(name)) : undefined;
    if (one !== undefined) all.push(one);
  }
  const found = [ancestor];
  for (const pid of found) for (const one of all) if (one.parent === pid) found.push(one.pid);
  return found.slice(1);
}

/** Waits until none of these processes runs any more; one that has ended may stand in the table for a while. */
export async function allGone(pids: readonly number[]): Promise<void> {
  for (const pid of pids) {
    for (;;) {
      const state = (await processOf(pid))?.state;
      if (state === undefined || state === 'Z') break;
      await setTimeout(20);
    }
  }
}

async function processOf(pid: number): Promise<Process | undefined> {
  // PID (NAME) STATE PARENT …, and a name may hold anything.
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const [, state, parent] = /\) (\S) (\d+) [^)]*$/.exec(stat) ?? [];
  return state === undefined ? undefined : { pid, state, parent: Number(parent) };
}
