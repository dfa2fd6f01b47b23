import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../memory/guest-memory.ts';
import { createDriverQueue } from './create.ts';
import { pvirtqDescFlags } from './packed/layout.ts';
import type { DeviceQueue } from './queue.ts';
import { dataStart, memoryStart, RawPackedRing, RawSplitRing } from './raw-ring.fixture.ts';
import { makePair, openDevice, placeAreas, plain } from './ring.fixture.ts';
import { virtqDescFlags } from './split/layout.ts';

const { NEXT, WRITE, INDIRECT } = virtqDescFlags;
const { AVAIL } = pvirtqDescFlags;
const table = 0x9000;

function lengthsOf(device: DeviceQueue): [readable: number, writable: number] {
  const chain = device.take();
  if (chain === undefined) throw device.error ?? new Error('no chain');
  return [chain.readable.length, chain.writable.length];
}

// @holds 2.7.5.3.2 device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors
it('follows direct descriptors into a table, and ignores WRITE in the one that refers to it', () => {
  for (const direct of [0, 1, 2]) {
    const ring = new RawSplitRing(8, { indirect: true });
    for (let i = 0; i < direct; i++) ring.descriptor(i, { len: 10, flags: NEXT, next: i + 1 });
    ring.descriptor(direct, { addr: table, len: 64, flags: INDIRECT | WRITE });
    ring.descriptor(0, { len: 1, flags: NEXT, next: 3 }, table);
    ring.descriptor(3, { len: 2, flags: NEXT | WRITE, next: 1 }, table);
    ring.descriptor(1, { len: 4, flags: WRITE, next: 77 }, table);
    ring.offer(0);
    expect(lengthsOf(ring.openDevice())).toEqual([10 * direct + 1, 6]);
  }
});

it('counts the descriptors of a table, and not the one that refers to it, against the queue size', () => {
  const ring = new RawSplitRing(2, { indirect: true });
  ring.descriptor(0, { addr: table, len: 32, flags: INDIRECT });
  ring.descriptor(0, { flags: NEXT, next: 1 }, table);
  ring.descriptor(1, {}, table);
  ring.offer(0);
  expect(lengthsOf(ring.openDevice())).toEqual([32, 0]);
});

it('takes every entry of a packed table in turn, and of its flags WRITE alone', () => {
  const ring = new RawPackedRing(4, { indirect: true });
  const noise = 0xffff & ~WRITE;
  ring.descriptor(0, { addr: table, len: 48, flags: AVAIL | INDIRECT | WRITE, id: 3 });
  ring.descriptor(0, { len: 1, flags: noise, id: 0xffff }, table);
  ring.descriptor(1, { len: 2, flags: noise | WRITE, id: 9 }, table);
  ring.descriptor(2, { len: 4, flags: WRITE }, table);
  expect(lengthsOf(ring.openDevice())).toEqual([1, 6]);
});

describe.each([false, true])('a table, packed %s,', (packed) => {
  it.each([1, 2, 8])('may lie at an address that is odd by %i', (shift) => {
    const ring = packed ? new RawPackedRing(4, { indirect: true }) : new RawSplitRing(4, { indirect: true });
    ring.descriptor(0, { addr: table + shift, len: 32, flags: INDIRECT | (packed ? AVAIL : 0) });
    ring.descriptor(0, { len: 5, flags: packed ? 0 : NEXT, ...(packed ? {} : { next: 1 }) }, table + shift);
    ring.descriptor(1, { len: 6, flags: WRITE }, table + shift);
    if (ring instanceof RawSplitRing) ring.offer(0);
    expect(lengthsOf(ring.openDevice())).toEqual([5, 6]);
  });

  it('may lie across regions', () => {
    const ring = packed ? new RawPackedRing(4, { indirect: true }) : new RawSplitRing(4, { indirect: true });
    ring.descriptor(0, { addr: table - 12, len: 32, flags: INDIRECT | (packed ? AVAIL : 0) });
    ring.descriptor(0, { len: 5, flags: packed ? 0 : NEXT, ...(packed ? {} : { next: 1 }) }, table - 12);
    ring.descriptor(1, { len: 6, flags: WRITE }, table - 12);
    if (ring instanceof RawSplitRing) ring.offer(0);
    const cut = new GuestMemory();
    const { buffer } = ring.view;
    const first = table - memoryStart;
    cut.addRegion(memoryStart, { buffer: buffer.slice(0, first) });
    cut.addRegion(table, { buffer: buffer.slice(first) });
    expect(lengthsOf(openDevice(cut, ring.areas, ring.options))).toEqual([5, 6]);
  });
});

const three = [0, 1, 2].map((i) => ({ address: dataStart + 16 * i, length: 16 }));

describe('what a driver writes', () => {
  // @holds 2.7.4.2 driver: Basic Facilities of a Virtio Device / Message Framing
  // @holds 2.7.5.3.1 driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors
  it('to a split ring: a table only where it was negotiated, readable before writable, never NEXT beside INDIRECT', () => {
    for (const indirect of [false, true]) {
      for (const inOrder of [false, true]) {
        const pair = makePair(4, { indirect, inOrder });
        pair.driver.submit(three.slice(0, 1), three.slice(1), 0);
        const flags = (at: number, i: number) => [
          ...new Uint16Array(pair.memory.read(at + 16 * i + 12, 4).buffer),
        ];
        const { descriptor } = pair.areas;
        if (indirect) {
          expect(flags(descriptor, 0)).toEqual([INDIRECT, 0]);
          const { buffer } = pair.memory.read(descriptor, 16);
          const [address, , length] = new Uint32Array(buffer);
          expect(length).toBe(48);
          expect([0, 1, 2].map((i) => flags(address!, i))).toEqual([
            [NEXT, 1],
            [NEXT | WRITE, 2],
            [WRITE, 0],
          ]);
        } else {
          expect([0, 1, 2].map((i) => flags(descriptor, i))).toEqual([
            [NEXT, 1],
            [NEXT | WRITE, 2],
            [WRITE, 3],
          ]);
        }
        expect(() => pair.driver.submit([...three, ...three], [], 0)).toThrow(
          expect.objectContaining({ code: 'BAD_ARGUMENT' }),
        );
      }
    }
  });

  // @holds 2.8.17 driver: Basic Facilities of a Virtio Device / Packed Virtqueues / Scatter-Gather Support
  it('to a packed ring: the first descriptor of a list last, and no list that does not fit', () => {
    const pair = makePair(4, { packed: true });
    const flags = (i: number) =>
      new Uint16Array(pair.memory.read(pair.areas.descriptor + 16 * i + 14, 2).buffer)[0];
    pair.driver.submit(three.slice(0, 1), three.slice(1), 0);
    expect([0, 1, 2].map(flags)).toEqual([0, AVAIL | NEXT | WRITE, AVAIL | WRITE]);
    pair.driver.publish();
    expect(flags(0)).toBe(AVAIL | NEXT);
    expect(pair.driver.submit(three.slice(0, 2), [], 1)).toBe(false);
    expect(flags(3)).toBe(0);
    expect(() => pair.driver.submit([...three, ...three], [], 0)).toThrow(
      expect.objectContaining({ code: 'BAD_ARGUMENT' }),
    );
  });

  // @holds 2.8.19 driver: Basic Facilities of a Virtio Device / Packed Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors
  it('to a packed table: no flag but WRITE', () => {
    const pair = makePair(4, { packed: true, indirect: true });
    pair.driver.submit(three.slice(0, 1), three.slice(1), 0);
    pair.driver.publish();
    const words = (at: number) => new Uint32Array(pair.memory.read(at, 16).buffer);
    const [address, , length, last] = words(pair.areas.descriptor);
    expect([length, last! >>> 16]).toEqual([48, AVAIL | INDIRECT]);
    expect([0, 1, 2].map((i) => words(address! + 16 * i)[3]! >>> 16)).toEqual([0, WRITE, WRITE]);
  });

  // @holds 2.7.5.2 driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table
  it('is never a buffer that no descriptor can hold', () => {
    const { driver } = makePair(4);
    const half = { address: 0, length: 2 ** 31 };
    for (const elements of [
      [],
      [half, half],
      [{ address: -1, length: 1 }],
      [{ address: 0.5, length: 1 }],
      [{ address: 2 ** 53, length: 1 }],
      [{ address: 0, length: -1 }],
      [{ address: 0, length: 1.5 }],
    ]) {
      expect(() => driver.submit(elements, [], 0)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    }
    expect(driver.free).toBe(4);
  });

  it('goes through tables by policy, and back to direct descriptors without memory for one', () => {
    for (const [policy, one, two] of [
      ['never', 1, 2],
      ['auto', 1, 1],
      ['always', 1, 1],
    ] as const) {
      const { driver } = makePair(8, { indirect: true, indirectPolicy: policy });
      driver.submit(three.slice(0, 1), [], 0);
      expect(driver.free).toBe(8 - one);
      driver.submit(three.slice(0, 2), [], 0);
      expect(driver.free).toBe(8 - one - two);
    }
    const pair = makePair(8, { indirect: true });
    pair.allocator.allocate(pair.allocator.available - 64, 1);
    while (pair.driver.submit(three, [], 0));
    expect(pair.driver.free).toBeLessThan(3);
  });

  it('gives the tables back when it is closed', () => {
    for (const packed of [false, true]) {
      const pair = makePair(8, { packed });
      const before = pair.allocator.available;
      const driver = createDriverQueue<number>(pair.memory, placeAreas(pair.allocator, 8, packed), {
        ...plain,
        packed,
        indirect: true,
        allocator: pair.allocator,
      });
      const placed = pair.allocator.available;
      driver.submit(three, [], 0);
      expect(pair.allocator.available).toBeLessThan(placed);
      driver.close();
      expect(pair.allocator.available).toBe(placed);
      expect(driver.submit(three, [], 0)).toBe(false);
      expect(placed).toBeLessThan(before);
    }
  });
});

// @holds 2.7.8.2 device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Used Ring
it('shows a used entry and its length only once the used index is written', () => {
  const ring = new RawSplitRing(4);
  const device = ring.openDevice();
  ring.descriptor(1, { len: 16, flags: WRITE });
  ring.offer(1);
  const chain = device.take()!;
  chain.writable.fill(5, 9);
  device.complete(chain);
  expect(ring.usedEntry(0)).toEqual({ id: 1, len: 9 });
  expect(ring.get16(ring.areas.device + 2)).toBe(0);
  device.flush();
  expect(ring.get16(ring.areas.device + 2)).toBe(1);
});
