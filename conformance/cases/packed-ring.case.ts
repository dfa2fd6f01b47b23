import { type ConformanceCase, check, RawDriver, RawPackedRing, same } from 'virtio/testing';
import { first, packedOnly, withIndirect, withoutIndirect } from '../skips.ts';
import { finds, writesItsLength } from './split-ring.case.ts';

export { configurationsOf } from '../configurations.ts';

/** 2.8: packed virtqueues. */
export const cases: readonly ConformanceCase[] = [
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Packed Virtqueues',
    statement: 'starts on buffers in the order in which they stand in the ring',
    scope: 'matrix',
    skip: first(packedOnly),
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      const offered = [0, 1, 2].map(() => ring.offer(driver.elements()));
      driver.kick(ring);
      const used: number[] = [];
      while (used.length < offered.length) used.push((await driver.nextUsed(ring)).id);
      same(
        used.toSorted((a, b) => a - b),
        offered,
        'the buffers that were used',
      );
      const taken = device.events.flatMap((event) => (event.kind === 'chain' ? [event.id] : []));
      if (taken.length > 0) same(taken, offered, 'the order in which the device took them');
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Packed Virtqueues',
    statement: 'writes used descriptors one behind the other, over many laps of rings of any size',
    scope: 'matrix',
    skip: first(packedOnly),
    async run(device) {
      for (const size of [4, 8]) {
        const { driver, ring } = await RawDriver.start(device, { size });
        // The hand-written ring finds a used descriptor only where it must stand, with the wrap counter it must have.
        for (let i = 0; i < 5 * size; i++) await driver.roundTrip(ring);
        await driver.finish();
      }
    },
  },
  {
    side: 'device',
    clause:
      'device: Basic Facilities of a Virtio Device / Packed Virtqueues / The Virtqueue Descriptor Table',
    statement: 'uses no descriptor whose AVAIL bit has not changed, however often it is kicked',
    scope: 'matrix',
    skip: first(packedOnly),
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      check(ring instanceof RawPackedRing, 'a packed ring');
      // A whole list is written, and its first descriptor not yet made available.
      const elements = driver.elements();
      for (const [i, { address, length, writable }] of elements.entries()) {
        ring.describe(i, { address, length, flags: writable ? 2 : 0, id: 0 });
      }
      const before = [...ring.descriptors()];
      for (let i = 0; i < 3; i++) driver.kick(ring);
      await driver.quiet();
      same([...ring.descriptors()], before, 'descriptors that are not available');
      await driver.roundTrip(ring);
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause:
      'device: Basic Facilities of a Virtio Device / Packed Virtqueues / The Virtqueue Descriptor Table',
    statement: 'leaves a used descriptor alone, and writes to no device-readable element',
    scope: 'matrix',
    skip: first(packedOnly),
    async run(device) {
      const { driver, ring } = await RawDriver.start(device);
      const { memory } = device.transport;
      const elements = driver.elements();
      ring.offer(elements);
      await driver.kickAndWait(ring);
      const used = memory.read(ring.areas.descriptor, 16);
      await driver.roundTrip(ring);
      driver.kick(ring);
      await driver.quiet();
      same([...memory.read(ring.areas.descriptor, 16)], [...used], 'the used descriptor');
      const readable = elements.filter(({ writable }) => !writable);
      const bytes = readable.flatMap(({ address, length }) => [...memory.read(address, length)]);
      same(bytes, [...device.probe.readable], 'the device-readable bytes');
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Packed Virtqueues / Scatter-Gather Support',
    statement: 'reads a list in its order and uses it as one buffer, whose length it skips in the ring',
    scope: 'matrix',
    skip: first(packedOnly),
    async run(device) {
      const { driver, ring } = await RawDriver.start(device, { size: 32 });
      const whole = await driver.roundTrip(ring);
      const pieces = Math.max(8, Math.ceil((device.probe.readable.length + device.probe.writable) / 6));
      for (let i = 0; i < 12; i++) {
        const id = ring.offer(driver.elements(pieces));
        same(await driver.kickAndWait(ring), { id, written: whole.written }, 'the used buffer');
      }
      await driver.finish();
    },
  },
  {
    side: 'device',
    clause: 'device: Basic Facilities of a Virtio Device / Packed Virtqueues / Scatter-Gather Support',
    statement: 'has written at least as many bytes as its used length says, from the first on',
    scope: 'matrix',
    skip: first(packedOnly),
    run: writesItsLength,
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Packed Virtqueues',
    statement: 'aligns the three parts of a packed queue to 16, 4 and 4 bytes',
    scope: 'matrix',
    skip: first(packedOnly),
    run: (driver) => finds(driver, 'driver: Basic Facilities of a Virtio Device / Packed Virtqueues'),
  },
  {
    side: 'driver',
    clause:
      'driver: Basic Facilities of a Virtio Device / PAcked Virtqueues / The Virtqueue Descriptor Table',
    statement: 'changes no descriptor between making it available and seeing it used',
    scope: 'matrix',
    skip: first(packedOnly),
    run: (driver) =>
      finds(
        driver,
        'driver: Basic Facilities of a Virtio Device / PAcked Virtqueues / The Virtqueue Descriptor Table',
      ),
  },
  {
    side: 'driver',
    clause:
      'driver: Basic Facilities of a Virtio Device / PAcked Virtqueues / The Virtqueue Descriptor Table',
    statement: 'sends the offset and the wrap counter of the next descriptor along with each notification',
    scope: 'matrix',
    skip: first(packedOnly),
    async run(driver) {
      await finds(
        driver,
        'driver: Basic Facilities of a Virtio Device / PAcked Virtqueues / The Virtqueue Descriptor Table',
      );
    },
  },
  {
    side: 'driver',
    clause: 'driver: Basic Facilities of a Virtio Device / Packed Virtqueues / Scatter-Gather Support',
    statement: 'makes lists available as a whole, within the ring, readable elements first, ids only once',
    scope: 'matrix',
    skip: first(packedOnly),
    run: (driver) =>
      finds(
        driver,
        'driver: Basic Facilities of a Virtio Device / Packed Virtqueues / Scatter-Gather Support',
      ),
  },
  {
    side: 'driver',
    clause:
      'driver: Basic Facilities of a Virtio Device / Packed Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
    statement: 'uses indirect tables as they are meant: never in a list, with no flag but WRITE inside',
    scope: 'matrix',
    skip: first(packedOnly, withIndirect),
    run: (driver) =>
      finds(
        driver,
        'driver: Basic Facilities of a Virtio Device / Packed Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
      ),
  },
  {
    side: 'driver',
    clause:
      'driver: Basic Facilities of a Virtio Device / Packed Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
    statement: 'uses no indirect table in a packed ring without INDIRECT_DESC',
    scope: 'matrix',
    skip: first(packedOnly, withoutIndirect),
    run: (driver) =>
      finds(
        driver,
        'driver: Basic Facilities of a Virtio Device / Packed Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors',
      ),
  },
];
