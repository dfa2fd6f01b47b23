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
import { type Floor, floorOf } from './floor.ts';

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
  readonly name: string;
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
  // Tables start on multiples of their own size, for the sake of the floor.
  allocator.allocate(64, 64);
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
    name: `${packed ? 'packed' : 'split '} ${indirect ? 'indirect' : 'direct  '} ${eventIdx ? 'event index' : 'flags      '}`,
    options,
    ours,
    device: makeDevice(ours, options),
    deep,
    deepDevice: makeDevice(deep, options),
    theirs,
    floor: floorOf(theirs.buffer, theirs.areas, packed),
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
    checksum += chain.readable.length;
    device.complete(chain);
  }
  device.flush();
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
    const floorTime = time(theirs, () => floor.run());
    const oursTime = time(ours, () => useEach(device));
    const deepTime = time(deep, () => useAll(deepDevice));
    if (!keep) continue;
    times.floor.push(floorTime);
    times.ours.push(oursTime);
    times.deep.push(deepTime);
  }
}

function median(values: Iterable<number>): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[sorted.length >>> 1] ?? Number.NaN;
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
  const ours = median(one.times.ours);
  const floor = median(one.times.floor);
  return {
    ring: one.options.packed ? 'packed' : 'split',
    indirect: one.options.indirect,
    eventIdx: one.options.eventIdx,
    nsPerChain: ours,
    nsPerChainDeep: median(one.times.deep),
    floorNsPerChain: floor,
    ratio: ours / floor,
    heapBytesPerChain: heapGrowth(one, collectGarbage),
    name: one.name,
  };
});

if (process.argv.includes('--json')) {
  const rows = results.map(({ name: _, ...row }) => row);
  console.log(JSON.stringify({ benchmark: 'ring', unit: 'ns', batch, size, rounds, results: rows }));
} else {
  console.log(
    `Three-descriptor chains, available to used; median of ${rounds} rounds, all rings in one process,`,
  );
  console.log(`so that every call site has seen both kinds. Floor: the same bytes walked without a check.\n`);
  console.log(`                               ns/chain  ${batch} held  floor  ratio  heap bytes/chain`);
  for (const row of results) {
    const cells = [
      row.nsPerChain.toFixed(1).padStart(8),
      row.nsPerChainDeep.toFixed(1).padStart(8),
      row.floorNsPerChain.toFixed(1).padStart(7),
      row.ratio.toFixed(2).padStart(6),
      row.heapBytesPerChain.toFixed(2).padStart(12),
    ];
    console.log(`${row.name}  ${cells.join(' ')}`);
  }
  if (checksum === 0) throw new Error('nothing was measured');
}
