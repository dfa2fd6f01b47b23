import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PeerError, UsageError } from '../errors.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { bytes, le16, le32, struct, tail, u8 } from '../spec/layout.ts';
import type { Chain } from './chain.ts';
import type { BufferElement } from './queue.ts';
import { makePair, openDevice } from './ring.fixture.ts';
import { saveQueue } from './saved-chain.ts';

const dataStart = 0x3_0000;
const dataLength = 0x400;

/** Cuts `length` bytes from `dataStart` into elements at the given places; some of them empty. */
function cut(length: number, places: readonly number[], start: number = dataStart): BufferElement[] {
  const edges = [0, ...places.map((place) => Math.min(place, length)).sort((a, b) => a - b), length];
  return edges.slice(1).map((edge, i) => ({ address: start + edges[i]!, length: edge - edges[i]! }));
}

/** Memory whose data part is cut into regions, so that elements span them. */
function memoryInPieces(places: readonly number[]): GuestMemory {
  const memory = new GuestMemory();
  memory.addRegion(0x1000, { buffer: new ArrayBuffer(dataStart - 0x1000) });
  for (const { address, length } of cut(2 * dataLength, places)) {
    if (length > 0) memory.addRegion(address, { buffer: new ArrayBuffer(length) });
  }
  return memory;
}

/** One chain with `readable` and `writable` bytes, cut into descriptors and memory into regions at will. */
function chainOf(
  readable: number,
  writable: number,
  framing: { readable?: readonly number[]; writable?: readonly number[]; regions?: readonly number[] } = {},
): { chain: Chain; memory: GuestMemory; complete(): void; close(): void } {
  const memory = memoryInPieces(framing.regions ?? []);
  const pair = makePair(64, {}, memory);
  const data = Uint8Array.from({ length: readable }, (_, i) => i + 1);
  if (readable > 0) memory.write(dataStart, data);
  pair.driver.submit(
    readable > 0 ? cut(readable, framing.readable ?? []) : [],
    writable > 0 ? cut(writable, framing.writable ?? [], dataStart + dataLength) : [],
    0,
  );
  pair.driver.publish();
  return {
    chain: pair.device.take()!,
    memory,
    complete() {
      pair.device.complete(this.chain);
    },
    close: () => pair.device.close(),
  };
}

const places = fc.array(fc.nat({ max: 100 }), { maxLength: 12 });
const framing = fc.record({ readable: places, writable: places, regions: places });

// @holds 2.7.4.1 device: Basic Facilities of a Virtio Device / Message Framing
it('reads the same values however the driver framed them', () => {
  const Header = struct('header', { kind: u8, size: le16, key: bytes(5), flags: le32 });
  void fc.assert(
    fc.property(framing, (frames) => {
      const { readable } = chainOf(60, 0, frames).chain;
      expect([readable.length, readable.position, readable.remaining]).toEqual([60, 0, 60]);
      expect(readable.u8()).toBe(1);
      expect(readable.u16()).toBe(0x0302);
      expect(readable.u32()).toBe(0x07060504);
      expect(readable.u64()).toBe(0x0f0e0d0c * 2 ** 32 + 0x0b0a0908);
      expect(readable.struct(Header)).toEqual({
        kind: 16,
        size: 0x1211,
        key: new Uint8Array([19, 20, 21, 22, 23]),
        flags: 0x1b1a1918,
      });
      expect([readable.position, readable.remaining]).toEqual([27, 33]);
      expect([...readable.bytes(3)]).toEqual([28, 29, 30]);
      expect(readable.slices(4).flatMap((slice) => [...slice])).toEqual([31, 32, 33, 34]);
      readable.seek(58);
      const rest = new Uint8Array(9);
      expect(readable.readInto(rest)).toBe(2);
      expect([...rest.subarray(0, 3)]).toEqual([59, 60, 0]);
      expect(readable.readInto(rest)).toBe(0);
      readable.seek(0);
      expect(readable.u8()).toBe(1);
    }),
  );
});

// @holds 2.7.4.1 device: Basic Facilities of a Virtio Device / Message Framing
it('writes the same bytes however the driver framed them', () => {
  const Reply = struct('reply', { status: u8, count: le16 });
  void fc.assert(
    fc.property(framing, (frames) => {
      const { chain, memory } = chainOf(0, 60, frames);
      const { writable } = chain;
      writable.u8(1);
      writable.u16(0x0302);
      writable.u32(0x07060504);
      writable.u64(0x0e0d0c0b0a0908);
      expect(writable.written).toBe(15);
      expect(writable.write(new Uint8Array([16, 17, 18]))).toBe(3);
      writable.struct(Reply, { status: 19, count: 0x1514 });
      writable.fill(7, 9);
      expect([writable.position, writable.written]).toEqual([30, 30]);
      for (const slice of writable.slices(10)) slice.fill(8);
      writable.seek(50);
      expect(writable.written).toBe(40);
      expect(writable.write(new Uint8Array(20).fill(9))).toBe(10);
      expect([writable.written, writable.remaining]).toEqual([60, 0]);
      writable.seek(0);
      writable.u8(1);
      expect(writable.written).toBe(60);
      const expected = [
        ...Array.from({ length: 21 }, (_, i) => (i === 14 ? 0 : i + 1)),
        ...new Array(9).fill(7),
        ...new Array(10).fill(8),
        ...new Array(10).fill(0),
        ...new Array(10).fill(9),
      ];
      expect([...memory.read(dataStart + dataLength, 60)]).toEqual(expected);
    }),
  );
});

// @holds 2.7.5.1 device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table
// @holds 2.8.15 device: Basic Facilities of a Virtio Device / Packed Virtqueues / The Virtqueue Descriptor Table
it('gives the device-readable and the device-writable part apart', () => {
  const { chain, memory } = chainOf(8, 8, { readable: [3], writable: [5] });
  chain.writable.fill(0xff, 8);
  expect([...chain.readable.bytes(8)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect([...memory.read(dataStart, 8)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect(() => chain.writable.u8(1)).toThrow(PeerError);
});

describe('a chain that is too short', () => {
  const cases: [name: string, use: (chain: Chain) => void][] = [
    ['u8', ({ readable }) => readable.u8()],
    ['u16', ({ readable }) => readable.u16()],
    ['u32', ({ readable }) => readable.u32()],
    ['u64', ({ readable }) => readable.u64()],
    ['bytes', ({ readable }) => readable.bytes(1)],
    ['slices', ({ readable }) => readable.slices(1)],
    ['struct', ({ readable }) => readable.struct(struct('two', { value: le16 }))],
    ['seek', ({ readable }) => readable.seek(4)],
    ['seek back', ({ readable }) => readable.seek(-1)],
    ['write u8', ({ writable }) => writable.u8(1)],
    ['write u16', ({ writable }) => writable.u16(1)],
    ['write u32', ({ writable }) => writable.u32(1)],
    ['write u64', ({ writable }) => writable.u64(1)],
    ['fill', ({ writable }) => writable.fill(1, 1)],
    ['write slices', ({ writable }) => writable.slices(1)],
    ['write struct', ({ writable }) => writable.struct(struct('two', { value: le16 }), { value: 1 })],
  ];

  it.each(cases)('throws a PeerError from %s and writes nothing', (_, use) => {
    const { chain, memory } = chainOf(3, 3);
    chain.readable.seek(3);
    chain.writable.seek(3);
    expect(() => use(chain)).toThrow(expect.objectContaining({ name: 'PeerError', code: 'BAD_REQUEST' }));
    expect([...memory.read(dataStart + dataLength, 8)]).toEqual(new Array(8).fill(0));
    expect(chain.writable.written).toBe(0);
  });

  it('is a short count for readInto and write', () => {
    const { chain } = chainOf(3, 3);
    expect(chain.readable.readInto(new Uint8Array(9))).toBe(3);
    expect(chain.writable.write(new Uint8Array(9))).toBe(3);
  });
});

it('reads a variable tail to the end, and not gigabytes of it', () => {
  const List = struct('list', { count: le16, entries: tail(le16) });
  const { chain } = chainOf(7, 0);
  expect(chain.readable.struct(List)).toEqual({ count: 0x0201, entries: [0x0403, 0x0605] });
});

it('takes a number of bytes that is none for a mistake of its caller', () => {
  const { chain } = chainOf(3, 3);
  for (const count of [-1, 0.5, Number.NaN]) {
    expect(() => chain.readable.bytes(count)).toThrow(UsageError);
    expect(() => chain.writable.fill(0, count)).toThrow(UsageError);
  }
});

describe('a chain that is over', () => {
  const uses: ((chain: Chain) => void)[] = [
    ({ readable }) => readable.u8(),
    ({ readable }) => readable.u16(),
    ({ readable }) => readable.u32(),
    ({ readable }) => readable.bytes(1),
    ({ readable }) => readable.readInto(new Uint8Array(1)),
    ({ readable }) => readable.slices(1),
    ({ readable }) => readable.seek(0),
    ({ writable }) => writable.u8(1),
    ({ writable }) => writable.u16(1),
    ({ writable }) => writable.u32(1),
    ({ writable }) => writable.u64(1),
    ({ writable }) => writable.write(new Uint8Array(1)),
    ({ writable }) => writable.fill(0, 1),
    ({ writable }) => writable.slices(1),
  ];

  it('throws from every use, wherever its cursors stood', () => {
    for (const over of ['complete', 'close'] as const) {
      const made = chainOf(9, 9);
      made.chain.readable.u8();
      made.chain.writable.u8(1);
      made[over]();
      expect(made.chain.live).toBe(false);
      for (const use of uses) {
        expect(() => use(made.chain)).toThrow(expect.objectContaining({ code: 'CHAIN_COMPLETED' }));
      }
    }
  });
});

it('throws a PeerError when the memory was taken away meanwhile', () => {
  const { chain, memory } = chainOf(9, 9);
  chain.readable.u8();
  for (const region of [...memory.regions]) {
    if (region.start >= dataStart) memory.removeRegion(region);
  }
  for (const use of [
    () => chain.readable.u8(),
    () => chain.readable.bytes(4),
    () => chain.writable.u8(1),
    () => chain.writable.write(new Uint8Array(2)),
    () => chain.writable.slices(1),
  ]) {
    expect(use).toThrow(expect.objectContaining({ name: 'PeerError', code: 'ADDRESS_OUT_OF_BOUNDS' }));
  }
});

it('sees the new bytes after a remap, in the middle of a chain', () => {
  const { chain, memory } = chainOf(9, 9);
  expect(chain.readable.u8()).toBe(1);
  const region = memory.regions.find((one) => one.start === dataStart)!;
  const moved = region.bytes.slice();
  moved[1] = 77;
  memory.remap(region, { buffer: moved.buffer });
  expect(chain.readable.u8()).toBe(77);
  chain.writable.u8(5);
  expect(moved[dataLength]).toBe(5);
});

it('translates page by page, and refuses what the translation refuses', () => {
  const pair = makePair(8);
  const { memory, driver, areas, options } = pair;
  const seen: string[] = [];
  // Pages of 16 bytes from 0x10_0000 on lie backwards from 0x3_8000; below that, addresses are physical.
  const behind = memory.translated((address, length, access) => {
    seen.push(access);
    if (address < 0x4_0000) return { address, length };
    const page = (address - 0x10_0000) >>> 4;
    if (page >= 4 || (access === 'write' && page < 2)) return undefined;
    return { address: 0x3_8000 - 16 * page + (address % 16), length: 16 - (address % 16) };
  });
  memory.write(0x3_8000, new Uint8Array(16).fill(1));
  memory.write(0x3_7ff0, new Uint8Array(16).fill(2));
  const device = openDevice(behind, areas, options);
  driver.submit([{ address: 0x10_0008, length: 16 }], [{ address: 0x10_0024, length: 20 }], 0);
  driver.publish();
  const chain = device.take()!;
  expect([...chain.readable.bytes(16)]).toEqual([...new Array(8).fill(1), ...new Array(8).fill(2)]);
  chain.writable.fill(9, 20);
  expect([...memory.read(0x3_7fd0, 4)]).toEqual([9, 9, 9, 9]);
  expect(saveQueue(device).inFlight).toEqual([
    { id: 0, count: 1, readable: [0x10_0008, 16], writable: [0x10_0024, 20] },
  ]);

  driver.submit([], [{ address: 0x10_0018, length: 16 }], 1);
  driver.publish();
  expect(device.take()).toBeUndefined();
  expect(device.error?.code).toBe('ADDRESS_OUT_OF_BOUNDS');
  expect(new Set(seen)).toEqual(new Set(['read', 'write']));
});
