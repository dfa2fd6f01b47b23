/**
 * `virtio serve blk` beside QEMU's storage daemon, under the same front end, ours: what `virtio bench` says of both, with a
 * store that keeps nothing and with a raw file in memory. Ratios are ours to QEMU's, the two measured in turns.
 * Both null stores give zeroes, so both fill what is read. What ours costs a machine besides is measured with the file:
 * how soon it listens, its memory after all of it, its processor time while nobody asks.
 * `npx tsx benchmarks/vhost-user/vhost-user.ts [--json] [--rounds=5] [--seconds=1]`, after `npm run build`.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ensureTool, GuardedChild } from 'virtio-node/guests';
import { listening } from '../listening.ts';
import { median, numberOption, rounded } from '../measures.ts';
import { memoryOf, processorSeconds } from '../process-usage.ts';
import { type BenchmarkReport, printReport } from '../report.ts';

const run = promisify(execFile);

const rounds = numberOption('rounds', 5);
const seconds = numberOption('seconds', 1);
const imageSize = 256 * 2 ** 20;
/** Our back end is to be no slower than QEMU's. */
const limit = 1;

const loads = [
  { name: '4 KiB random read, depth 1', args: ['--rw', 'randread', '--bs', '4k', '--iodepth', '1'] },
  { name: '4 KiB random read, depth 32', args: ['--rw', 'randread', '--bs', '4k', '--iodepth', '32'] },
  { name: '128 KiB read, depth 8', args: ['--rw', 'read', '--bs', '128k', '--iodepth', '8'] },
  { name: '128 KiB write, depth 8', args: ['--rw', 'write', '--bs', '128k', '--iodepth', '8', '--write-ok'] },
] as const;
const command = fileURLToPath(new URL('../../packages/cli/bin/virtio.js', import.meta.url));
type Peer = 'ours' | 'qemu';

/** What `virtio bench --json` says, as far as it is used here. */
interface Measured {
  readonly iops: number;
  readonly errors: number;
  readonly latency: { readonly all: { readonly p50: number; readonly p99: number } };
  readonly cpu: {
    readonly own: { readonly microsecondsPerIo: number };
    readonly backEnd: { readonly microsecondsPerIo: number } | null;
  };
}

const folder = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'virtio-bench-'));
const sockets: Readonly<Record<Peer, string>> = { ours: join(folder, 'ours'), qemu: join(folder, 'qemu') };

async function startQemu(storage: string): Promise<GuardedChild> {
  const { folder: programs, environment } = await ensureTool('qemu-img', { path: [] });
  const lent = ['vhost-user-blk', 'id=lent', 'node-name=disk', 'writable=on', 'addr.type=unix'];
  const args = ['--blockdev', `${storage},node-name=disk`];
  return GuardedChild.start(
    join(programs, 'qemu-storage-daemon'),
    [...args, '--export', [...lent, `addr.path=${sockets.qemu}`].join(',')],
    { name: 'qemu-storage-daemon', environment },
  );
}

function startOurs(disk: readonly string[]): Promise<GuardedChild> {
  return GuardedChild.start(
    process.execPath,
    [command, 'serve', 'blk', '--socket-path', sockets.ours, ...disk],
    { name: 'our back end' },
  );
}

async function measure(peer: Peer, args: readonly string[], time: number): Promise<Measured> {
  const all = [command, 'bench', 'blk', sockets[peer], ...args, '--seconds', `${time}`, '--json'];
  const { stdout } = await run(process.execPath, all);
  // It is our own command's answer.
  return JSON.parse(stdout) as Measured;
}

const peers = ['qemu', 'ours'] as const;

const nothingYet = (): Record<Peer, Measured[]> => ({ ours: [], qemu: [] });

/** Every load on both, in turns. */
async function compare(store: string): Promise<Record<string, string | number>[]> {
  const results = loads.map((load) => ({ ...load, of: nothingYet() }));
  for (let round = 0; round < rounds; round++) {
    for (const { args, of } of results) {
      for (const peer of peers) of[peer].push(await measure(peer, args, seconds));
    }
  }
  return results.map(({ name, of }) => rowOf(`${store}: ${name}`, of));
}

const atMost = (what: string, value: number, limit: number): BenchmarkReport['targets'][number] => ({
  what,
  value: rounded(value),
  limit,
  met: value <= limit,
});

/** What our back end costs after its work; milliseconds until it listened are the caller's to know. */
async function costs(pid: number, ready: number): Promise<BenchmarkReport['targets']> {
  const idle = 3;
  await setTimeout(1000);
  const before = processorSeconds(pid);
  await setTimeout(idle * 1000);
  return [
    atMost('ready to accept, ms', ready, 300),
    atMost('memory after all of it, MiB', memoryOf(pid, 'VmRSS') / 1024, 90),
    atMost('idle, % of a processor', ((processorSeconds(pid) - before) / idle) * 100, 1),
  ];
}

const rows: Record<string, string | number>[] = [];
let ownCosts: BenchmarkReport['targets'] = [];
try {
  const images: Readonly<Record<Peer, string>> = { ours: join(folder, 'image'), qemu: join(folder, 'other') };
  for (const peer of peers) {
    await writeFile(images[peer], '');
    await truncate(images[peer], imageSize);
  }
  const stores = [
    { name: 'no store', qemu: 'driver=null-co,size=1073741824,read-zeroes=on', ours: ['--null', '1024'] },
    {
      name: 'file in memory',
      qemu: `driver=file,filename=${images.qemu}`,
      ours: ['--blk-file', images.ours],
    },
  ];
  for (const store of stores) {
    const started = performance.now();
    const ours = await startOurs(store.ours);
    await listening(ours, sockets.ours);
    const ready = performance.now() - started;
    const children = [await startQemu(store.qemu), ours];
    for (const [index, peer] of peers.entries()) {
      await listening(children[index]!, sockets[peer]);
      // All of it, so that no hole is read.
      await measure(peer, ['--rw', 'write', '--bs', '1m', '--write-ok'], 1);
    }
    rows.push(...(await compare(store.name)));
    ownCosts = await costs(ours.pid, ready);
    for (const child of children) await child.kill();
    for (const peer of peers) await rm(sockets[peer], { force: true });
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

function rowOf(what: string, { ours, qemu }: Record<Peer, Measured[]>): Record<string, string | number> {
  const of = (from: readonly Measured[], value: (one: Measured) => number): number => median(from.map(value));
  const cpu = ({ cpu }: Measured): number => cpu.backEnd?.microsecondsPerIo ?? Number.NaN;
  return {
    what,
    'ours IOPS': of(ours, ({ iops }) => iops),
    'qemu IOPS': of(qemu, ({ iops }) => iops),
    ratio: rounded(of(ours, ({ iops }) => iops) / of(qemu, ({ iops }) => iops)),
    'ours p99 µs': rounded(of(ours, ({ latency }) => latency.all.p99)),
    'qemu p99 µs': rounded(of(qemu, ({ latency }) => latency.all.p99)),
    'ours CPU µs': rounded(of(ours, cpu)),
    'qemu CPU µs': rounded(of(qemu, cpu)),
    'front end CPU µs': rounded(of([...ours, ...qemu], ({ cpu }) => cpu.own.microsecondsPerIo)),
    errors: [...ours, ...qemu].reduce((sum, { errors }) => sum + errors, 0),
  };
}

printReport({
  name: 'our vhost-user block back end beside qemu-storage-daemon, under our front end',
  rows,
  targets: [
    ...rows.map((row) => {
      const value = Number(row.ratio);
      return { what: `${row.what}, IOPS`, value, limit, met: value >= limit };
    }),
    ...ownCosts,
  ],
});
