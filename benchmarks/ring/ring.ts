// What one chain costs a device, from available to used, with every check in place; beside an unvalidated walk
// of the same rings. `npm run build && npx tsx benchmarks/ring/ring.ts [--json]`
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Allocator, GuestMemory } from 'virtio/memory';
import {
  createDeviceQueue,
  createDriverQueue,
  type DeviceQueue,
  type DriverQueue,
  type DriverRingOptions,
  type QueueAreas,
  ringAreas,
} from 'virtio/virtqueue';
import { median, rounded } from '../measures.ts';
import { printReport } from '../report.ts';
import { type Floor, PackedFloor, SplitFloor } from './floor.ts';

const size = 256;
const batch = 64;
const rounds = 41;
const batchesPerRound = 400;
const chainsForHeap = 1_000_000;

interface Side {
  readonly driver: DriverQueue<number>;
  readonly areas: QueueAreas;
  readonly buffer: ArrayBuffer;
  readonly memory: GuestMemory;
}

interface Case {
  readonly options: DriverRingOptions;
  readonly ours: Side;
  readonly device: DeviceQueue;
  readonly deep: Side;
  readonly deepDevice: DeviceQueue;
  readonly theirs: Side;
  readonly floor: Floor;
  readonly times: { ours: number[]; deep: number[]; floor: number[] };
}

function makeSide(options: DriverRingOptions): Side {
  const buffer = new ArrayBuffer(0x4_0000);
  const memory = new GuestMemory();
  memory.addRegion(0, { buffer });
  // Buffers lie above 4 GiB, where an address is no small integer.
  memory.addRegion(2 ** 32, { buffer: new ArrayBuffer(0x10_0000) });
  const allocator = new Allocator(0x1000, 0x3_f000);
  const shapes = ringAreas(size, options);
  const areas = {
    size,
    descriptor: allocator.allocate(shapes.descriptor.length, shapes.descriptor.alignment),
    driver: allocator.allocate(shapes.driver.length, shapes.driver.alignment),
    device: allocator.allocate(shapes.device.length, shapes.device.alignment),
  };
  const driver = createDriverQueue<number>(memory, areas, { ...options, allocator });
  return { driver, areas, buffer, memory };
}

function makeDevice(side: Side, options: DriverRingOptions): DeviceQueue {
  const device = createDeviceQueue(side.memory, side.areas, options);
  if (device instanceof Error) throw device;
  return device;
}

function makeCase(packed: boolean, indirect: boolean, eventIdx: boolean): Case {
  const options = { packed, indirect, eventIdx, inOrder: false, endian: 'little' } as const;
  const ours = makeSide(options);
  const deep = makeSide(options);
  const theirs = makeSide(options);
  return {
    options,
    ours,
    device: makeDevice(ours, options),
    deep,
    deepDevice: makeDevice(deep, options),
    theirs,
    floor: packed
      ? new PackedFloor(theirs.buffer, theirs.areas)
      : new SplitFloor(theirs.buffer, theirs.areas, eventIdx),
    times: { ours: [], deep: [], floor: [] },
  };
}

const readable = [
  { address: 2 ** 32 + 0x1000, length: 16 },
  { address: 2 ** 32 + 0x2000, length: 4096 },
];
const writable = [{ address: 2 ** 32 + 0x8000, length: 1 }];

function offer({ driver }: Side): void {
  for (let i = 0; i < batch; i++) driver.submit(readable, writable, i);
  driver.publish();
}

function collect({ driver }: Side): void {
  let count = 0;
  while (driver.poll() !== undefined) count++;
  if (count !== batch) throw new Error(`${count} of ${batch} chains came back`, { cause: driver.error });
}

let checksum = 0;

function useEach(device: DeviceQueue): void {
  for (let chain = device.take(); chain !== undefined; chain = device.take()) {
    checksum = (checksum + chain.id) | 0;
    device.complete(chain);
  }
  device.flush();
}

function useFloor(floor: Floor): void {
  for (let id = floor.pop(); id >= 0; id = floor.pop()) {
    checksum = (checksum + id) | 0;
    floor.push(id, 0);
  }
  floor.flush();
}

const held: NonNullable<ReturnType<DeviceQueue['take']>>[] = [];

function useAll(device: DeviceQueue): void {
  let count = 0;
  for (let chain = device.take(); chain !== undefined; chain = device.take()) held[count++] = chain;
  for (let i = 0; i < count; i++) device.complete(held[i]!);
  device.flush();
}

/** Nanoseconds per chain: the median batch, so that a machine that does other things as well disturbs little. */
function time(side: Side, work: () => void): number {
  const spent = new Float64Array(batchesPerRound);
  for (let i = 0; i < batchesPerRound; i++) {
    offer(side);
    const start = performance.now();
    work();
    spent[i] = performance.now() - start;
    collect(side);
  }
  return (median(spent) * 1e6) / batch;
}

function runRound(cases: readonly Case[], keep: boolean): void {
  for (const { ours, deep, theirs, device, deepDevice, floor, times } of cases) {
    const floorTime = time(theirs, () => useFloor(floor));
    const oursTime = time(ours, () => useEach(device));
    const deepTime = time(deep, () => useAll(deepDevice));
    if (!keep) continue;
    times.floor.push(floorTime);
    times.ours.push(oursTime);
    times.deep.push(deepTime);
  }
}

/** Bytes per chain that a million chains leave on the heap before any collection. */
function heapGrowth({ ours, device }: Case, collectGarbage: () => void): number {
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < chainsForHeap; i += batch) {
    offer(ours);
    useEach(device);
    collect(ours);
  }
  return (process.memoryUsage().heapUsed - before) / chainsForHeap;
}

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

const flags = [false, true];
const cases = flags.flatMap((packed) =>
  flags.flatMap((indirect) => flags.map((eventIdx) => makeCase(packed, indirect, eventIdx))),
);
for (let i = 0; i < 8; i++) runRound(cases, false);
for (let i = 0; i < rounds; i++) runRound(cases, true);

const results = cases.map((one) => {
  const { packed, indirect, eventIdx } = one.options;
  const ours = median(one.times.ours);
  const floor = median(one.times.floor);
  return {
    ring: packed ? 'packed' : 'split',
    descriptors: indirect ? 'indirect' : 'direct',
    suppression: eventIdx ? 'event index' : 'flags',
    'ns/chain': rounded(ours, 1),
    [`ns/chain, ${batch} held`]: rounded(median(one.times.deep), 1),
    'floor ns/chain': rounded(floor, 1),
    ratio: rounded(ours / floor, 2),
    'heap bytes/chain': rounded(heapGrowth(one, collectGarbage), 3),
  };
});
if (checksum === 0) throw new Error('nothing was measured');

const targets = results
  .filter(({ ring, descriptors }) => ring === 'split' && descriptors === 'direct')
  .map(({ suppression, ratio }) => ({
    what: `split direct with ${suppression}, times the unvalidated walk`,
    value: ratio,
    limit: 1.6,
    met: ratio <= 1.6,
  }));
printReport({
  name: 'ring: three-descriptor chains, pop to used; all rings in one process, so call sites have seen both kinds',
  rows: results,
  targets,
});
