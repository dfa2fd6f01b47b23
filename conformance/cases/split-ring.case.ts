import {
  type ConformanceCase,
  check,
  type DeviceUnderTest,
  type DriverUnderTest,
  RawDriver,
  RawSplitRing,
  same,
} from 'virtio/testing';
import { first, splitOnly, withIndirect, withInOrder, withoutIndirect } from '../skips.ts';
import { watched } from '../watched.ts';

export { configurationsOf } from '../configurations.ts';

/** 2.7: split virtqueues. */
export const cases: readonly ConformanceCase[] = [
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table',
    statement: 'writes to no device-readable element, and to no entry of the descriptor table',
    scope: 'matrix',
    skip: first(splitOnly),
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      const elements = driver.elements();
      ring.offer(elements);
      const before = ring.descriptors();
      await driver.kickAndWait(ring);
      same([...ring.descriptors()], [...before], 'the descriptor table');
      const readable = elements.filter(({ writable }) => !writable);
      const bytes = readable.flatMap(({ address, length }) => [
        ...device.transport.memory.read(address, length),
      ]);
      same(bytes, [...device.probe.readable], 'the device-readable bytes');
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Used Ring',
    statement:
      'has written at least as many bytes as its used length says, from the first on, when the index moves',
    scope: 'matrix',
    skip: first(splitOnly),
    run: writesItsLength,
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Used Ring',
    statement: 'reports a used length within the device-writable bytes, with each buffer that is used',
    scope: 'matrix',
    skip: first(splitOnly),
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      check(ring instanceof RawSplitRing, 'a split ring');
      for (let i = 0; i < 40; i++) {
        const used = await driver.roundTrip(ring);
        check(used.written <= device.probe.writable, `${used.written} bytes of ${device.probe.writable}`);
        same(ring.usedIndex, i + 1, 'the used index');
      }
      await driver.finish();
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Virtqueues',
    statement: 'aligns the three parts of a split queue to 16, 2 and 4 bytes',
    scope: 'matrix',
    skip: first(splitOnly),
    run: (driver) => finds(driver, 'driver: Basic Facilities of a Virtio Device / Virtqueues'),
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Message Framing',
    statement: 'places device-writable elements behind device-readable ones',
    scope: 'matrix',
    skip: first(splitOnly),
    run: (driver) => finds(driver, 'driver: Basic Facilities of a Virtio Device / Message Framing'),
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table',
    statement: 'makes no chain that loops, leaves the table or is longer than 2^32 bytes',
    scope: 'matrix',
    skip: first(splitOnly),
    run: (driver) =>
      finds(
        driver,
        'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table',
      ),
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table',
    statement: 'with IN_ORDER, links each descriptor to the next in the table, and the last to the first',
    scope: 'matrix',
    skip: first(splitOnly, withInOrder),
    run: (driver) =>
      finds(
        driver,
        'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table',
      ),
  },
  {
    side: 'driver',
    clause:
      'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
    statement: 'uses indirect tables as they are meant: not nested, not with NEXT, in sequence with IN_ORDER',
    scope: 'matrix',
    skip: first(splitOnly, withIndirect),
    run: (driver) =>
      finds(
        driver,
        'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
      ),
  },
  {
    side: 'driver',
    clause:
      'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
    statement: 'uses no indirect table without INDIRECT_DESC, and no chain longer than the queue',
    scope: 'matrix',
    skip: first(splitOnly, withoutIndirect),
    run: (driver) =>
      finds(
        driver,
        'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
      ),
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Available Ring',
    statement: 'never takes the available index back',
    scope: 'matrix',
    skip: first(splitOnly),
    run: (driver) =>
      finds(
        driver,
        'driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Available Ring',
      ),
  },
];

/** A byte that the device wrote differs from what lay there before in one of several runs, or is not written. */
export async function writesItsLength(device: DeviceUnderTest): Promise<void> {
  const { driver, ring } = await RawDriver.start(device);
  const { memory } = device.transport;
  let least = Number.POSITIVE_INFINITY;
  const touched = new Set<number>();
  for (const canary of [0x00, 0xff, 0x5a, 0xa5, 0x33]) {
    const elements = driver.elements();
    const writable = elements.filter((element) => element.writable);
    for (const { address, length } of writable) memory.write(address, new Uint8Array(length).fill(canary));
    ring.offer(elements);
    least = Math.min(least, (await driver.kickAndWait(ring)).written);
    const found = writable.flatMap(({ address, length }) => [...memory.read(address, length)]);
    for (const [i, byte] of found.entries()) if (byte !== canary) touched.add(i);
  }
  for (let i = 0; i < least; i++) check(touched.has(i), `byte ${i} of ${least} was written`);
  await driver.finish();
}

/** The watched run of the driver found nothing against a clause, and found something to look at. */
export async function finds(driver: DriverUnderTest, clause: string): Promise<void> {
  const watch = await watched(driver);
  check(watch.buffers > 0, 'the driver offers buffers');
  const findings = watch.findings.filter((finding) => finding.clause === clause);
  same(
    findings.map(({ message }) => message),
    [],
    'what breaks the rule',
  );
}
