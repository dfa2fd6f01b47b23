import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Region } from '../memory/region.ts';
import { everyRing, makePair } from './ring.fixture.ts';

const spy = vi.hoisted((): { read: ((at: number, width: number) => void) | undefined } => ({
  read: undefined,
}));

/** Typed arrays are read without a call, so the areas' ones are wrapped to tell of it. */
function watched<T extends Uint16Array | Uint32Array>(array: T): T {
  return new Proxy(array, {
    get(target, key) {
      // `key` is an index or a property's name, and the value whatever the array has there.
      const value: unknown = Reflect.get(target, key);
      if (typeof key === 'string' && /^\d+$/.test(key)) {
        spy.read?.(target.byteOffset + Number(key) * target.BYTES_PER_ELEMENT, target.BYTES_PER_ELEMENT);
      }
      return value;
    },
    set: (target, key, value) => Reflect.set(target, key, value),
  });
}

vi.mock('../memory/atomics.ts', async (original) => {
  // The module that is being replaced.
  const real = (await original()) as typeof import('../memory/atomics.ts');
  class Watched extends real.OrderedView {
    override readonly halves: Uint16Array;
    override readonly words: Uint32Array;

    constructor(region: Region, offset: number, length: number, endian?: 'little' | 'big') {
      super(region, offset, length, endian);
      this.halves = watched(new Uint16Array(this.view.buffer, this.view.byteOffset, length >>> 1));
      this.words = watched(new Uint32Array(this.view.buffer, this.view.byteOffset, length >>> 2));
    }
  }
  return { ...real, OrderedView: Watched };
});

afterEach(() => vi.restoreAllMocks());

const elements = [0, 1, 2].map((i) => ({ address: 0x3_0000 + 16 * i, length: 16 }));

/**
 * Counts the reads of a buffer's bytes by place, and spoils what was read: whoever reads a field again finds
 * something else, as with a driver that changes memory between a check and a use.
 */
function spoilWhatIsRead(
  buffer: ArrayBufferLike,
  isDescriptor: (offset: number) => boolean,
): Map<number, number> {
  const reads = new Map<number, number>();
  spy.read = (at, width) => {
    if (!isDescriptor(at)) return;
    for (let i = at; i < at + width; i++) reads.set(i, (reads.get(i) ?? 0) + 1);
    new Uint8Array(buffer, at, width).fill(0xff);
  };
  for (const [name, width] of [
    ['getUint16', 2],
    ['getUint32', 4],
  ] as const) {
    const read = DataView.prototype[name];
    vi.spyOn(DataView.prototype, name).mockImplementation(function (this: DataView, offset, little) {
      const value = read.call(this, offset, little);
      if (this.buffer === buffer) spy.read?.(this.byteOffset + offset, width);
      return value;
    });
  }
  return reads;
}

describe.each(everyRing)('$name', ({ options }) => {
  it('reads every byte of a descriptor once, and keeps what it has checked', () => {
    const pair = makePair(8, options);
    const { memory, areas, device, driver } = pair;
    const region = memory.regions[0]!;
    region.words = watched(region.words);
    // Indexes, flags and events are read as often as one likes; they lie in the other two areas.
    const others = [areas.driver, areas.device].map((address) => address - region.start);
    const isDescriptor = (offset: number): boolean =>
      offset < elements[0]!.address - region.start &&
      others.every((start) => offset < start || offset >= start + 6 + 8 * 8);
    // The first chain is looked at closely, the second as most are.
    driver.submit(elements.slice(0, 1), elements.slice(1), 0);
    driver.submit(elements.slice(0, 2), elements.slice(2), 1);
    driver.publish();

    const reads = spoilWhatIsRead(region.bytes.buffer, isDescriptor);
    const chains = [device.take()!, device.take()!];
    for (const chain of chains) chain.writable.fill(3, chain.writable.length);
    spy.read = undefined;
    vi.restoreAllMocks();

    expect(device.error).toBeUndefined();
    // Address and length of six elements at least.
    expect(reads.size).toBeGreaterThanOrEqual(2 * 3 * 12);
    expect(new Set(reads.values())).toEqual(new Set([1]));
    expect(chains.map(({ readable, writable }) => [readable.length, writable.length])).toEqual([
      [16, 32],
      [32, 16],
    ]);
    expect([...memory.read(elements[1]!.address, 32)]).toEqual(new Array(32).fill(3));
  });
});
