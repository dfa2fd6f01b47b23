import { blk, openBlk } from 'virtio/devices/blk';
import type { OpenQueue } from 'virtio/driver';
import { defaultAcceptedFeatures } from 'virtio/driver';
import { reservedFeatures } from 'virtio/spec';
import { VhostUserTransport } from 'virtio/vhost-user';
import { NodeDescriptors } from 'virtio-node/host';
import { answerLimit } from 'virtio-node/vhost-user';
import { connectTyped, firstAnswer } from '../back-end.ts';
import { exitStatus, usage } from '../exit-status.ts';
import { bold, formatJson, formatTable, type Output } from '../output.ts';
import { type BenchArguments, type BenchPlan, planBench } from './arguments.ts';
import { loadBlk } from './blk-load.ts';
import { Latencies, type LatencySummary } from './latencies.ts';
import { ownProcessorTime, processorTime } from './processor-time.ts';

/** Processor time of one side. */
interface ProcessorUse {
  /** Seconds. */
  readonly seconds: number;
  readonly microsecondsPerIo: number;
}

/** What `virtio bench` says. */
export interface BenchReport {
  readonly socket: string;
  readonly rw: string;
  readonly bs: number;
  readonly iodepth: number;
  readonly queues: number;
  readonly ring: 'split' | 'packed';
  readonly seconds: number;
  readonly ios: number;
  readonly iops: number;
  readonly bytesPerSecond: number;
  readonly errors: number;
  /** Microseconds; `null` where there was none of the kind. */
  readonly latency: {
    readonly all: LatencySummary;
    readonly reads: LatencySummary | null;
    readonly writes: LatencySummary | null;
  };
  readonly cpu: {
    readonly own: ProcessorUse;
    /** `null` where the back end is this process, or nobody tells. */
    readonly backEnd: ProcessorUse | null;
  };
}

/** `virtio bench`: drives the block device behind a vhost-user socket, and measures it. */
export async function benchCommand(
  output: Output,
  type: string,
  socket: string,
  args: BenchArguments,
): Promise<number> {
  if (type !== blk.name) throw usage(`bench knows blk, not ${type}`);
  const plan = planBench(args);
  const report = await bench(socket, plan);
  output.out(plan.json ? formatJson({ ...report }) : benchText(report, output.colour));
  return report.errors > 0 ? exitStatus.findings : exitStatus.ok;
}

async function bench(socket: string, plan: BenchPlan): Promise<BenchReport> {
  const channel = connectTyped(socket);
  const backEnd = channel.peer === process.pid ? undefined : channel.peer;
  const transport = await firstAnswer(
    socket,
    VhostUserTransport.connect(channel, new NodeDescriptors(), {
      deviceId: blk.id,
      limit: answerLimit(),
      memory: memoryFor(plan),
    }),
  );
  const disk = await openBlk(transport, {
    queues: plan.queues,
    queueSize: queueSizeFor(plan),
    reserved: defaultAcceptedFeatures.filter((name) => plan.packed || name !== 'RING_PACKED'),
  });
  try {
    checkDisk(disk, plan);
    const queues = openQueues(disk.device, plan.queues);
    const [ownBefore, theirsBefore] = [ownProcessorTime(), backEnd && processorTime(backEnd)];
    const result = await loadBlk(disk, queues, plan);
    const own = ownProcessorTime() - ownBefore;
    const theirs = backEnd && processorTime(backEnd);
    const all = new Latencies();
    for (const part of [result.reads, result.writes]) all.addAll(part);
    const per = (seconds: number): ProcessorUse => ({
      seconds: rounded(seconds),
      microsecondsPerIo: rounded((seconds * 1e6) / Math.max(1, all.count)),
    });
    return {
      socket,
      rw: plan.rw,
      bs: plan.blockSize,
      iodepth: plan.depth,
      queues: queues.length,
      ring: disk.device.features.has(reservedFeatures.RING_PACKED) ? 'packed' : 'split',
      seconds: rounded(result.seconds),
      ios: all.count,
      iops: Math.round(all.count / result.seconds),
      bytesPerSecond: Math.round((all.count * plan.blockSize) / result.seconds),
      errors: result.errors,
      latency: { all: all.summary(), reads: summaryOf(result.reads), writes: summaryOf(result.writes) },
      cpu: {
        own: per(own),
        backEnd: theirs === undefined || theirsBefore === undefined ? null : per(theirs - theirsBefore),
      },
    };
  } finally {
    await disk.close();
  }
}

const summaryOf = (latencies: Latencies): LatencySummary | null =>
  latencies.count === 0 ? null : latencies.summary();

/** Enough for all that is under way, and for what a driver needs besides. */
const memoryFor = ({ depth, blockSize }: BenchPlan): number => 8 * 2 ** 20 + 2 * depth * (blockSize + 4096);

/** Room for all of a queue's requests, each of three elements. */
const queueSizeFor = ({ depth, queues }: BenchPlan): number =>
  Math.min(1024, Math.max(128, 2 ** Math.ceil(Math.log2((4 * depth) / queues))));

function openQueues(
  device: { queue(name: 'requestq', number: number): OpenQueue },
  wanted: number,
): OpenQueue[] {
  return Array.from({ length: wanted }, (_, number) => device.queue('requestq', number));
}

function checkDisk(disk: Awaited<ReturnType<typeof openBlk>>, plan: BenchPlan): void {
  const bytes = disk.capacity * 512;
  if (bytes === 0) throw usage('the disk has no bytes; see that a block device is behind this socket');
  if (plan.blockSize % disk.blockSize !== 0) {
    throw usage(`--bs ${plan.blockSize} is no multiple of the disk's ${disk.blockSize} bytes a block`);
  }
  if (plan.blockSize > bytes) throw usage(`--bs ${plan.blockSize} is more than the disk has: ${bytes} bytes`);
  if (plan.writes > 0 && disk.readOnly) throw usage(`--rw ${plan.rw} writes, and the disk is read-only`);
  const { num_queues = 1 } = disk.device.config;
  if (plan.queues > (disk.device.has('MQ') ? num_queues : 1)) {
    throw usage(
      `--queues ${plan.queues} is more than the disk has: ${disk.device.has('MQ') ? num_queues : 1}`,
    );
  }
}

const rounded = (value: number): number => Math.round(value * 1000) / 1000;

function benchText(report: BenchReport, colour: boolean): string {
  const { rw, bs, iodepth, queues, ring, iops, bytesPerSecond, latency, cpu, errors, seconds } = report;
  const { all } = latency;
  const percent = (used: ProcessorUse): string =>
    `${used.microsecondsPerIo.toFixed(1)} µs a request, ${Math.round((used.seconds / seconds) * 100)} % of a processor`;
  const rows = [
    ['IOPS', `${iops}`],
    ['MB/s', (bytesPerSecond / 1e6).toFixed(1)],
    [
      'latency µs',
      `mean ${all.mean}, 50 % ${all.p50}, 90 % ${all.p90}, 99 % ${all.p99}, 99.9 % ${all.p999}, max ${all.max}`,
    ],
    ['processor, here', percent(cpu.own)],
    ['processor, back end', cpu.backEnd === null ? 'not told' : percent(cpu.backEnd)],
    ...(errors > 0 ? [['errors', `${errors}`]] : []),
  ];
  const title = `${rw}, ${bs} bytes, depth ${iodepth}, ${queues} ${ring} ${queues === 1 ? 'queue' : 'queues'}, ${seconds} s`;
  return `${bold(title, colour)}\n${formatTable(rows.map(([name, value]) => [`  ${name}`, value ?? '']))}`;
}
