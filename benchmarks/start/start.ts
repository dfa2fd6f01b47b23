/**
 * What a user waits for: `virtio run --exec true` from the shell's point of view, booting anew and going on from
 * the saved state, by turns. `npx tsx benchmarks/start/start.ts [--json] [--runs=3]`, after `npm run build`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { guestFiles } from 'virtio-node/guests';
import { median, numberOption } from '../measures.ts';
import { printReport } from '../report.ts';

/** The most that a warm start may take of a cold one. */
const limit = 1 / 3;

const virtio = fileURLToPath(new URL('../../packages/cli/bin/virtio.js', import.meta.url));
const runs = numberOption('runs', 3);

interface Start {
  /** Seconds from starting the command to its end. */
  readonly whole: number;
  /** Seconds from making the machine to its being ready, as the command says. */
  readonly machine: number;
}

async function start(kind: 'cold' | 'warm', ...options: string[]): Promise<Start> {
  const begun = performance.now();
  const command = spawn(process.execPath, [virtio, 'run', '--json', ...options, '--exec', 'true'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const [lines, [status]] = await Promise.all([text(command.stderr), once(command, 'close')]);
  const whole = (performance.now() - begun) / 1000;
  const events = lines
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const started = events.find(({ event }) => event === 'started');
  if (status !== 0 || started?.start !== kind) throw new Error(`this was no ${kind} start:\n${lines}`);
  return { whole, machine: started.seconds };
}

function row(name: string, starts: readonly Start[]): Record<string, string | number> {
  const seconds = (of: (start: Start) => number): number => Math.round(median(starts.map(of)) * 100) / 100;
  return {
    start: name,
    runs: starts.length,
    'machine ready, s': seconds((s) => s.machine),
    'whole command, s': seconds((s) => s.whole),
  };
}

await guestFiles();
const cold: Start[] = [];
const warm: Start[] = [];
for (let run = 0; run < runs; run++) {
  cold.push(await start('cold', '--fresh'));
  warm.push(await start('warm'));
}
const ratio = median(warm.map(({ whole }) => whole)) / median(cold.map(({ whole }) => whole));
printReport({
  name: 'virtio run --exec true, medians',
  rows: [row('cold', cold), row('warm', warm)],
  targets: [
    {
      what: 'warm of cold, whole command',
      value: Math.round(ratio * 1000) / 1000,
      limit: Math.round(limit * 1000) / 1000,
      met: ratio <= limit,
    },
  ],
});
