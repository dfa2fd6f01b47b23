import { describe, expect, it } from 'vitest';
import { PeerError, UsageError } from '../errors.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { createDeviceQueue, createDriverQueue, ringAreas } from './create.ts';
import { legacyLayout } from './legacy.ts';
import type { QueueAreas } from './queue.ts';
import { plain } from './ring.fixture.ts';

const memory = GuestMemory.ofSize(0x20_0000);
const good: QueueAreas = { size: 4, descriptor: 0x1000, driver: 0x2000, device: 0x3000 };

describe.each([
  { packed: false, legal: [1, 2, 4, 32768], illegal: [0, 3, 6, 32767, 65536, -4, 1.5, Number.NaN] },
  { packed: true, legal: [1, 2, 3, 7, 32767, 32768], illegal: [0, 32769, 65536, -4, 1.5, Number.NaN] },
])('packed: $packed', ({ packed, legal, illegal }) => {
  const options = { ...plain, packed };
  const codeOf = (areas: QueueAreas) => {
    const queue = createDeviceQueue(memory, areas, options);
    return queue instanceof PeerError ? queue.code : undefined;
  };

  it('accepts every legal size and no other', () => {
    const room = { descriptor: 0, driver: 0x8_0000, device: 0x10_0000 };
    for (const size of legal) expect(codeOf({ size, ...room })).toBeUndefined();
    for (const size of illegal) expect(codeOf({ size, ...room })).toBe('QUEUE_SIZE_INVALID');
  });

  // @holds 2.7.1 driver: Basic Facilities of a Virtio Device / Virtqueues
  // @holds 2.8.11 driver: Basic Facilities of a Virtio Device / Packed Virtqueues
  it('refuses misaligned areas on both sides', () => {
    const shapes = ringAreas(4, options);
    for (const part of ['descriptor', 'driver', 'device'] as const) {
      const { alignment } = shapes[part];
      for (let shift = 1; shift < alignment; shift *= 2) {
        const areas = { ...good, [part]: good[part] + shift };
        expect(codeOf(areas)).toBe(packed ? 'PACKED_QUEUE_MISALIGNED' : 'QUEUE_MISALIGNED');
        expect(() => createDriverQueue(memory, areas, options)).toThrow(UsageError);
      }
      expect(codeOf({ ...good, [part]: good[part] + alignment })).toBeUndefined();
    }
  });

  it('refuses areas that are not all in memory', () => {
    const shapes = ringAreas(4, options);
    for (const part of ['descriptor', 'driver', 'device'] as const) {
      const { alignment, length } = shapes[part];
      const last = Math.floor((0x20_0000 - length) / alignment) * alignment;
      expect(codeOf({ ...good, [part]: last })).toBeUndefined();
      for (const address of [last + alignment, 0x20_0000, 2 ** 40, 2 ** 53 - 2 ** 20, 2 ** 63]) {
        expect(codeOf({ ...good, [part]: address })).toBe('ADDRESS_OUT_OF_BOUNDS');
        expect(() => createDriverQueue(memory, { ...good, [part]: address }, options)).toThrow(UsageError);
      }
    }
  });

  it('takes areas at the seam of regions or behind a translation only where they are contiguous', () => {
    const cut = new GuestMemory();
    cut.addRegion(0, { buffer: new ArrayBuffer(0x1020) });
    cut.addRegion(0x1020, { buffer: new ArrayBuffer(0x4000) });
    const queue = createDeviceQueue(cut, good, options);
    expect(queue).toBeInstanceOf(PeerError);

    const pages = memory.translated((address) => ({
      address: address ^ 0x10_0000,
      length: 0x20 - (address % 0x20),
    }));
    expect(createDeviceQueue(pages, good, options)).not.toBeInstanceOf(PeerError);
    const shuffled = memory.translated((address) => ({
      address: address ^ 0x20,
      length: 0x20 - (address % 0x20),
    }));
    expect(createDeviceQueue(shuffled, good, options)).toMatchObject({ code: 'ADDRESS_OUT_OF_BOUNDS' });
  });

  it('clears what the driver was given, and nothing beside it', () => {
    const own = GuestMemory.ofSize(0x4000);
    const bytes = own.regions[0]!.bytes;
    bytes.fill(0xee);
    const shapes = ringAreas(4, options);
    createDriverQueue(own, good, options);
    for (const part of ['descriptor', 'driver', 'device'] as const) {
      const [start, end] = [good[part], good[part] + shapes[part].length];
      expect(bytes.subarray(start, end).every((byte) => byte === 0)).toBe(true);
      expect([bytes[start - 1], bytes[end]]).toEqual([0xee, 0xee]);
    }
  });
});

it('has no big-endian packed ring, and no tables without an allocator', () => {
  expect(() => createDeviceQueue(memory, good, { ...plain, packed: true, endian: 'big' })).toThrow(
    UsageError,
  );
  expect(() =>
    createDriverQueue(memory, good, { ...plain, indirect: true, indirectPolicy: 'always' }),
  ).toThrow(UsageError);
});

it('lays a legacy queue out in one piece', () => {
  expect(legacyLayout(0x8000, 256)).toEqual({
    areas: { size: 256, descriptor: 0x8000, driver: 0x9000, device: 0xa000 },
    length: 0x3000,
  });
  expect(legacyLayout(0, 8, 64)).toEqual({
    areas: { size: 8, descriptor: 0, driver: 128, device: 192 },
    length: 192 + 128,
  });
  expect(() => legacyLayout(0, 3)).toThrow(UsageError);
  expect(() => legacyLayout(0, 4, 3)).toThrow(UsageError);
});
