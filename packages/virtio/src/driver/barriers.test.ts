import { afterEach, describe, expect, it, vi } from 'vitest';
import { Allocator } from '../memory/allocator.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { RawBytes } from '../testing/raw/bytes.ts';
import { createDriverQueue, ringAreas } from '../virtqueue/create.ts';

afterEach(() => vi.restoreAllMocks());

/** What passes through Atomics, which nothing passes: by byte offset, and what memory held at that moment. */
function watchAtomics(look: () => unknown) {
  const acts: { readonly act: 'load' | 'store'; readonly at: number; readonly seen: unknown }[] = [];
  for (const act of ['load', 'store'] as const) {
    const original = Atomics[act];
    vi.spyOn(Atomics, act).mockImplementation((...given: unknown[]) => {
      const [array, index] = given;
      if (ArrayBuffer.isView(array)) {
        const width = array instanceof Uint16Array ? 2 : 4;
        acts.push({ act, at: array.byteOffset + Number(index) * width, seen: look() });
      }
      return Reflect.apply(original, Atomics, given);
    });
  }
  return acts;
}

function sharedQueue(packed: boolean) {
  const memory = new GuestMemory();
  memory.addRegion(0, { buffer: new SharedArrayBuffer(65_536) });
  const allocator = new Allocator(4096, 61_440);
  const shape = ringAreas(8, { packed });
  const place = ({ length, alignment }: { length: number; alignment: number }) =>
    allocator.allocate(length, alignment);
  const areas = {
    size: 8,
    descriptor: place(shape.descriptor),
    driver: place(shape.driver),
    device: place(shape.device),
  };
  const options = { packed, eventIdx: false, indirect: false, inOrder: false, endian: 'little' } as const;
  return { areas, bytes: new RawBytes(memory), queue: createDriverQueue<string>(memory, areas, options) };
}

const readable = [{ address: 4000, length: 16 }];
const writable = [{ address: 4016, length: 16 }];

describe('memory that another thread shares', () => {
  // @holds 2.7.13.3.1 driver: Basic Facilities of a Virtio Device / Virtqueues / Supplying Buffers to The Device / Updating idx
  // @holds 2.7.13.4.1 driver: Basic Facilities of a Virtio Device / Virtqueues / Supplying Buffers to The Device / Notifying The Device
  it('has a split buffer complete before the index moves by a release, and the flags are read behind it', () => {
    const { areas, bytes, queue } = sharedQueue(false);
    queue.submit(readable, writable, 'one');
    const acts = watchAtomics(() => [
      bytes.get64(areas.descriptor),
      bytes.get64(areas.descriptor + 16),
      bytes.get16(areas.driver + 4),
      bytes.get16(areas.driver + 2),
    ]);
    queue.publish();
    const index = acts.findIndex(({ act, at }) => act === 'store' && at === areas.driver + 2);
    expect(acts[index]?.seen).toEqual([4000, 4016, 0, 0]);
    expect(bytes.get16(areas.driver + 2)).toBe(1);
    const flags = acts.findIndex(({ act, at }) => act === 'load' && at === areas.device);
    expect(flags).toBeGreaterThan(index);
  });

  // @holds 2.8.21.1.1 driver: Basic Facilities of a Virtio Device / Packed Virtqueues / Supplying Buffers to The Device / Updating flags
  // @holds 2.8.21.3.1 driver: Basic Facilities of a Virtio Device / Packed Virtqueues / Supplying Buffers to The Device / Sending Available Buffer Notifications
  it('has a packed list complete before its first flags are written by a release, and the events are read behind it', () => {
    const { areas, bytes, queue } = sharedQueue(true);
    queue.submit(readable, writable, 'one');
    const acts = watchAtomics(() => [
      bytes.get64(areas.descriptor),
      bytes.get16(areas.descriptor + 14) & 0x8080,
      bytes.get64(areas.descriptor + 16),
      bytes.get16(areas.descriptor + 30) & 0x8080,
    ]);
    queue.publish();
    const flags = acts.findIndex(({ act, at }) => act === 'store' && at === areas.descriptor + 14);
    expect(acts[flags]?.seen).toEqual([4000, 0, 4016, 0x80]);
    expect(bytes.get16(areas.descriptor + 14) & 0x8080).toBe(0x80);
    const events = acts.findIndex(({ act, at }) => act === 'load' && at === areas.device);
    expect(events).toBeGreaterThan(flags);
  });
});
