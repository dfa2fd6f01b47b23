import { usage } from '../exit-status.ts';
import { wholeNumber } from '../whole-number.ts';
import type { BlkLoad } from './blk-load.ts';

/** The options of `virtio bench`, as they were typed. */
export interface BenchArguments {
  readonly rw: string;
  readonly bs: string;
  readonly iodepth: string;
  readonly seconds: string;
  readonly queues: string;
  readonly packed: boolean;
  readonly writeOk: boolean;
  readonly json: boolean;
}

/** Bytes of all requests together: it is memory of this machine, and half of what is lent. */
const mostUnderWay = 2 ** 30;

/** What they mean. */
export interface BenchPlan extends BlkLoad {
  readonly rw: RwName;
  readonly queues: number;
  readonly packed: boolean;
  readonly json: boolean;
}

const kinds = {
  read: { random: false, writes: 0 },
  write: { random: false, writes: 100 },
  randread: { random: true, writes: 0 },
  randwrite: { random: true, writes: 100 },
  randrw: { random: true, writes: 50 },
} as const;

/** A kind of load, named as fio does. */
export type RwName = keyof typeof kinds;

/** The kinds of load. */
export const rwNames: readonly string[] = Object.keys(kinds);

/** @throws {CommandError} for what cannot be, and for a load that writes without `--write-ok`. */
export function planBench(args: BenchArguments): BenchPlan {
  const rw = rwCalled(args.rw);
  const { random, writes } = kinds[rw];
  if (writes > 0 && !args.writeOk) {
    throw usage(`--rw ${rw} destroys what is on the disk: say --write-ok if that may be`);
  }
  const blockSize = sizeIn(args.bs);
  if (blockSize % 512 !== 0) throw usage(`--bs ${args.bs} is no whole number of sectors of 512 bytes`);
  const depth = wholeIn('--iodepth', args.iodepth, 1, 1024);
  if (depth * blockSize > mostUnderWay) {
    throw usage(
      `--iodepth ${depth} of --bs ${args.bs} is more than ${mostUnderWay / 2 ** 20}M under way; make one of them smaller`,
    );
  }
  return {
    rw,
    random,
    writes,
    blockSize,
    depth,
    milliseconds: secondsIn(args.seconds) * 1000,
    queues: wholeIn('--queues', args.queues, 1, 256),
    packed: args.packed,
    json: args.json,
  };
}

function rwCalled(name: string): RwName {
  let known: RwName;
  for (known in kinds) if (known === name) return known;
  throw usage(`--rw ${name} is none of ${rwNames.join(', ')}`);
}

function sizeIn(text: string): number {
  const [, digits, unit = ''] = /^(\d+)([kKmM]?)$/.exec(text) ?? [];
  const size = Number(digits) * ({ k: 1024, m: 2 ** 20 }[unit.toLowerCase()] ?? 1);
  if (size >= 512 && size <= 16 * 2 ** 20) return size;
  throw usage(`--bs ${text} is no size from 512 to 16M bytes`);
}

function wholeIn(option: string, text: string, least: number, most: number): number {
  const value = wholeNumber(text, least, most);
  if (value !== undefined) return value;
  throw usage(`${option} ${text} is no whole number from ${least} to ${most}`);
}

function secondsIn(text: string): number {
  const value = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && value > 0 && value <= 3600) return value;
  throw usage(`--seconds ${text} is no number of seconds up to 3600`);
}
