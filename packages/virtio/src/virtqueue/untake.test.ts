import { describe, expect, it } from 'vitest';
import { everyRing, makePair, openDevice, type Pair } from './ring.fixture.ts';
import { saveQueue } from './saved-chain.ts';
import { untake } from './untake.ts';

/** Submits buffers of two readable elements and a writable one. */
function offer(pair: Pair, tokens: readonly number[]): void {
  for (const token of tokens) {
    pair.memory.write(0x3_0000 + 16 * token, Uint8Array.of(token, 1, 2, 3));
    const at = { address: 0x3_0000 + 16 * token, length: 2 };
    pair.driver.submit([at, { ...at, address: at.address + 2 }], [{ address: 0x3_1000, length: 4 }], token);
  }
  pair.driver.publish();
}

/** The token of the next chain; it was taken. */
const next = ({ device }: Pair): number | undefined => device.take()?.readable.u32();

describe.each(everyRing)('a chain that goes back untaken: $name', ({ options }) => {
  it('is found again, whole, and those behind it', () => {
    const pair = makePair(16, options);
    // Past the end of a packed ring, several times.
    for (let round = 0; round < 20; round++) {
      offer(pair, [1, 2, 3]);
      const chains = [1, 2, 3].map(() => pair.device.take()!);
      for (const [i, chain] of chains.entries()) expect(chain.readable.u8()).toBe(i + 1);
      for (const chain of chains.toReversed()) untake(pair.device, chain);
      expect(pair.device.inFlight).toBe(0);
      expect(pair.device.hasAvailable()).toBe(true);
      const again = pair.device.take()!;
      expect(Array.from(again.readable.bytes(4))).toEqual([1, 1, 2, 3]);
      untake(pair.device, again);
      const all = [1, 2, 3].map(() => pair.device.take()!);
      expect(all.map((chain) => chain.readable.u8())).toEqual([1, 2, 3]);
      untake(pair.device, all[2]!);
      for (const chain of all.slice(0, 2)) pair.device.complete(chain);
      pair.device.flush();
      pair.device.complete(pair.device.take()!);
      pair.device.flush();
      expect([1, 2, 3].map(() => pair.driver.poll()?.token)).toEqual([1, 2, 3]);
      expect([pair.device.error, pair.driver.error, pair.device.inFlight]).toEqual([undefined, undefined, 0]);
    }
  });

  it('is refused, unless it was taken last', () => {
    const pair = makePair(16, options);
    offer(pair, [1, 2]);
    const [first, second] = [pair.device.take()!, pair.device.take()!];
    const bad = expect.objectContaining({ code: 'BAD_ARGUMENT' });
    expect(() => untake(pair.device, first)).toThrow(bad);
    pair.device.complete(second);
    expect(() => untake(pair.device, first)).toThrow(bad);
    expect(() => untake(pair.device, second)).toThrow(bad);
    pair.device.close();
    untake(pair.device, first);
  });

  it('waits for its turn again when it was restored', () => {
    const pair = makePair(16, options);
    offer(pair, [1, 2, 3]);
    for (let i = 0; i < 2; i++) pair.device.take();
    const device = openDevice(pair.memory, pair.areas, options, saveQueue(pair.device));
    const restored = { ...pair, device };
    const [first, second] = [device.take()!, device.take()!];
    expect([first, second].map((chain) => chain.readable.u8())).toEqual([1, 2]);
    untake(device, second);
    untake(device, first);
    expect(device.inFlight).toBe(0);
    expect([1, 2, 3].map(() => next(restored)! & 0xff)).toEqual([1, 2, 3]);
    expect(device.take()).toBeUndefined();
  });
});
