// What a register access costs a device on each bus, and what a request costs over each bus, beside the fastest.
// `npm run build && npx tsx benchmarks/buses/buses.ts [--json]`
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { blkDevice, memoryStorage, type OpenBlk, openBlk } from 'virtio/devices/blk';
import { buses } from 'virtio/testing';
import { printReport } from '../report.ts';
import { type Access, accesses } from './registers.ts';

const accessesPerRound = 200_000;
const requestsPerRound = 500;
const rounds = 41;
const accessesForHeap = 2_000_000;
/** A request over any bus may take so much longer than over the fastest. */
const limit = 1.3;

setFlagsFromString('--expose-gc');
// The collector is a function of the engine's own, without a declaration.
const collect = runInNewContext('gc') as () => void;

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >>> 1] ?? 0;

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

/** Processor time, since both sides are in this process: what else the machine does counts little. */
async function timeRequests(disk: OpenBlk): Promise<number> {
  const start = process.cpuUsage();
  for (let i = 0; i < requestsPerRound; i++) await disk.read((i * 8) % 1024, 8);
  const { user, system } = process.cpuUsage(start);
  return (user + system) / requestsPerRound;
}

const round = (value: number): number => Math.round(value * 100) / 100;

const registerRows = accesses().map(measureRegister);

const disks = await Promise.all(
  buses.map(async (bus) => {
    const times: number[] = [];
    const { transport } = await bus.connect(blkDevice({ storage: memoryStorage(2 ** 20) }), {});
    return { name: bus.name, disk: await openBlk(transport), times };
  }),
);
// One after the other within each round, so that what else the machine does meets all of them.
for (let i = 0; i < rounds; i++) for (const { disk, times } of disks) times.push(await timeRequests(disk));
// A loopback is no bus: it stands there for comparison.
const isBus = (name: string): boolean => !name.startsWith('loopback');
const fastest = Math.min(...disks.filter(({ name }) => isBus(name)).map(({ times }) => median(times)));
const requestRows = disks.map(({ name, times }) => ({
  what: `4 KiB read, ${name}`,
  'request µs': round(median(times)),
  'of the fastest': round(median(times) / fastest),
}));
for (const { disk } of disks) await disk.close();

printReport({
  name: 'a register access, device side; a 4 KiB block request over each bus, both sides in one process',
  rows: [...registerRows, ...requestRows],
  targets: requestRows
    .filter((_, i) => isBus(disks[i]?.name ?? ''))
    .map((row) => ({
      what: row.what,
      value: row['of the fastest'],
      limit,
      met: row['of the fastest'] <= limit,
    })),
});
