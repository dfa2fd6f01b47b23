import { expect, it } from 'vitest';
import { exitStatus } from '../exit-status.ts';
import { type BenchArguments, planBench } from './arguments.ts';

const usual: BenchArguments = {
  rw: 'randread',
  bs: '4096',
  iodepth: '32',
  seconds: '5',
  queues: '1',
  packed: false,
  writeOk: false,
  json: false,
};

it('takes sizes and loads as people write them', () => {
  expect(planBench(usual)).toMatchObject({
    random: true,
    writes: 0,
    blockSize: 4096,
    depth: 32,
    milliseconds: 5000,
  });
  expect(planBench({ ...usual, rw: 'write', writeOk: true, bs: '128k', seconds: '0.5' })).toMatchObject({
    ...{ random: false, writes: 100, blockSize: 131072, milliseconds: 500 },
  });
  expect(planBench({ ...usual, bs: '1M' }).blockSize).toBe(2 ** 20);
});

it.each([
  [{ rw: 'randwrite' }, /destroys what is on the disk: say --write-ok/],
  [{ rw: 'trim' }, /none of read, write, randread/],
  [{ bs: '1000' }, /no whole number of sectors/],
  [{ bs: '4G' }, /no size/],
  [{ bs: '16M', iodepth: '65' }, /--iodepth 65 of --bs 16M is more than 1024M under way/],
  [{ iodepth: '0' }, /no whole number from 1 to 1024/],
  [{ seconds: 'soon' }, /no number of seconds/],
  [{ queues: '-1' }, /--queues -1/],
])('refuses %j', (changed, says) => {
  const planning = (): unknown => planBench({ ...usual, ...changed });
  expect(planning).toThrow(says);
  expect(planning).toThrow(expect.objectContaining({ status: exitStatus.usage }));
});
