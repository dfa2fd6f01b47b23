// What a register access costs a device on each bus, and what a request costs over each bus, beside the fastest.
// `npm run build && npx tsx benchmarks/buses/buses.ts [--json]`
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { buses } from 'virtio/testing';
import { median } from '../measures.ts';
import { printReport } from '../report.ts';
import { type Access, accesses } from './registers.ts';

const accessesPerRound = 200_000;
const rounds = 41;
const requestRounds = 15;
const processesPerBus = 3;
const accessesForHeap = 2_000_000;
/** A request over any bus may take so much longer than over the fastest. */
const limit = 1.3;

setFlagsFromString('--expose-gc');
// The collector is a function of the engine's own, without a declaration.
const collect = runInNewContext('gc') as () => void;

const nanoseconds = (start: bigint, count: number): number => Number(process.hrtime.bigint() - start) / count;

let sink = 0;

function timeReads(read: Access['read'], count: number): number {
  const start = process.hrtime.bigint();
  for (let i = 0; i < count; i++) sink = (sink + read()) | 0;
  return nanoseconds(start, count);
}

function timeWrites(write: Access['write'], count: number): number {
  const start = process.hrtime.bigint();
  for (let i = 0; i < count; i++) write();
  return nanoseconds(start, count);
}

function measureRegister({ name, read, write }: Access): Record<string, string | number> {
  const times: { readonly read: number[]; readonly write: number[] } = { read: [], write: [] };
  for (let i = 0; i < rounds; i++) {
    times.read.push(timeReads(read, accessesPerRound));
    times.write.push(timeWrites(write, accessesPerRound));
  }
  collect();
  const before = process.memoryUsage().heapUsed;
  timeReads(read, accessesForHeap);
  timeWrites(write, accessesForHeap);
  const grown = process.memoryUsage().heapUsed - before;
  return {
    what: `register, ${name}`,
    'read ns': round(median(times.read)),
    'write ns': round(median(times.write)),
    'bytes an access': round(Math.max(0, grown) / (2 * accessesForHeap)),
  };
}

/** The next answer of a process that measures one bus. */
async function timeRequests(bus: ChildProcess): Promise<number> {
  bus.send('measure');
  // `one-bus.ts` sends nothing else.
  const [answer] = (await once(bus, 'message')) as [number];
  return answer;
}

const round = (value: number): number => Math.round(value * 100) / 100;

const registerRows = accesses().map(measureRegister);

const script = fileURLToPath(new URL('one-bus.ts', import.meta.url));

/** Each bus in a process of its own: the median of what a request takes, in µs. */
async function measureBuses(): Promise<number[]> {
  const processes = buses.map(({ name }) => {
    const times: number[] = [];
    return { process: fork(script, [name]), times };
  });
  // One after the other within each round, so that what else the machine does meets all of them.
  for (let i = 0; i < requestRounds; i++) {
    for (const { process, times } of processes) times.push(await timeRequests(process));
  }
  for (const { process } of processes) process.kill();
  return processes.map(({ times }) => median(times));
}

// How well the engine compiles a process is settled early, now and then badly: the best of a few counts.
const best = buses.map(() => Infinity);
for (let i = 0; i < processesPerBus; i++) {
  for (const [at, time] of (await measureBuses()).entries()) best[at] = Math.min(best[at] ?? time, time);
}
// A loopback is no bus: it stands there for comparison.
const isBus = (name: string): boolean => !name.startsWith('loopback');
const timed = buses.map(({ name }, at) => ({ name, time: best[at] ?? Number.NaN }));
const fastest = Math.min(...timed.filter(({ name }) => isBus(name)).map(({ time }) => time));
const requestRows = timed.map(({ name, time }) => ({
  what: `4 KiB read, ${name}`,
  'request µs': round(time),
  'of the fastest': round(time / fastest),
}));

printReport({
  name: 'a register access, device side; a 4 KiB block request over each bus, both sides in one process for each',
  rows: [...registerRows, ...requestRows],
  targets: requestRows
    .filter((_, i) => isBus(buses[i]?.name ?? ''))
    .map((row) => ({
      what: row.what,
      value: row['of the fastest'],
      limit,
      met: row['of the fastest'] <= limit,
    })),
});
