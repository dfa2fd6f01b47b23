import { afterEach, describe, expect, it, vi } from 'vitest';
import { everyRing, makePair } from './ring.fixture.ts';

afterEach(() => vi.restoreAllMocks());

const elements = [0, 1, 2].map((i) => ({ address: 0x3_0000 + 16 * i, length: 16 }));

/**
 * Counts the plain reads of a buffer's bytes by place, and spoils what was read: whoever reads a field again
 * finds something else, as with a driver that changes memory between a check and a use.
 */
function spoilWhatIsRead(
  buffer: ArrayBufferLike,
  isDescriptor: (offset: number) => boolean,
): Map<number, number> {
  const reads = new Map<number, number>();
  for (const [name, width] of [
    ['getUint16', 2],
    ['getUint32', 4],
  ] as const) {
    const read = DataView.prototype[name];
    vi.spyOn(DataView.prototype, name).mockImplementation(function (this: DataView, offset, little) {
      const value = read.call(this, offset, little);
      const at = this.byteOffset + offset;
      if (this.buffer === buffer && isDescriptor(at)) {
        reads.set(at, (reads.get(at) ?? 0) + 1);
        new Uint8Array(buffer, at, width).fill(0xff);
      }
      return value;
    });
  }
  return reads;
}

describe.each(everyRing)('$name', ({ options }) => {
  it('reads every field of a descriptor once, and keeps what it has checked', () => {
    const pair = makePair(8, options);
    const { memory, areas, device, driver } = pair;
    const region = memory.regions[0]!;
    // Indexes, flags and events are read as often as one likes; they lie in the other two areas.
    const others = [areas.driver, areas.device].map((address) => address - region.start);
    const isDescriptor = (offset: number): boolean =>
      offset < elements[0]!.address - region.start &&
      others.every((start) => offset < start || offset >= start + 6 + 8 * 8);
    driver.submit(elements.slice(0, 1), elements.slice(1), 0);
    driver.submit(elements.slice(0, 2), elements.slice(2), 1);
    driver.publish();

    const reads = spoilWhatIsRead(region.bytes.buffer, isDescriptor);
    const chains = [device.take()!, device.take()!];
    for (const chain of chains) chain.writable.fill(3, chain.writable.length);
    vi.restoreAllMocks();

    expect(device.error).toBeUndefined();
    expect(reads.size).toBeGreaterThan(12);
    expect(new Set(reads.values())).toEqual(new Set([1]));
    expect(chains.map(({ readable, writable }) => [readable.length, writable.length])).toEqual([
      [16, 32],
      [32, 16],
    ]);
    expect([...memory.read(elements[1]!.address, 32)]).toEqual(new Array(32).fill(3));
  });
});
