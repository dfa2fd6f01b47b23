import { describe, expect, it } from 'vitest';
import { PeerError, UsageError } from '../errors.ts';
import { createDeviceQueue } from './create.ts';
import { makePair, openDevice, type Pair } from './ring.fixture.ts';
import { saveQueue } from './saved-chain.ts';

const rings = [
  { packed: false, ring: 'split' },
  { packed: true, ring: 'packed' },
];

function offer(pair: Pair, count: number): void {
  for (let i = 0; i < count; i++) {
    pair.driver.submit([{ address: 0x3_0000 + i, length: 1 }], [{ address: 0x3_1000, length: 4 }], i);
  }
  pair.driver.publish();
}

describe.each(rings)('$ring ring', ({ packed }) => {
  it('goes on from its saved state, and gives what was in flight out first', () => {
    const pair = makePair(8, { packed });
    offer(pair, 4);
    const [first, second, third] = [pair.device.take()!, pair.device.take()!, pair.device.take()!];
    pair.device.complete(second);
    const state = saveQueue(pair.device);
    expect(state.inFlight.map(({ id, readable, writable }) => ({ id, readable, writable }))).toEqual([
      { id: first.id, readable: [0x3_0000, 1], writable: [0x3_1000, 4] },
      { id: third.id, readable: [0x3_0002, 1], writable: [0x3_1000, 4] },
    ]);
    expect(first.live).toBe(true);
    expect(pair.device.flush()).toBe(true);

    const device = openDevice(pair.memory, pair.areas, pair.options, state);
    expect([device.inFlight, device.hasAvailable(), device.enableNotifications()]).toEqual([0, true, true]);
    const taken = [device.take()!, device.take()!, device.take()!];
    expect(taken.map(({ id }) => id)).toEqual([first.id, third.id, packed ? 3 : 6]);
    expect(device.take()).toBeUndefined();
    expect(device.inFlight).toBe(3);
    for (const chain of taken) {
      chain.writable.u8(chain.readable.u8());
      device.complete(chain);
    }
    expect(device.flush()).toBe(true);
    const tokens: number[] = [];
    for (let used = pair.driver.poll(); used !== undefined; used = pair.driver.poll())
      tokens.push(used.token);
    expect(tokens).toEqual([1, 0, 2, 3]);
    expect(pair.driver.free).toBe(8);
  });

  it('keeps what is completed and waits for its turn', () => {
    const pair = makePair(8, { packed, inOrder: true });
    offer(pair, 2);
    const [, second] = [pair.device.take()!, pair.device.take()!];
    second.writable.fill(7, 3);
    pair.device.complete(second);
    const state = saveQueue(pair.device);
    expect(state.inFlight.map(({ completed }) => completed)).toEqual([undefined, 3]);

    const device = openDevice(pair.memory, pair.areas, pair.options, state);
    const again = device.take()!;
    expect(device.take()).toBeUndefined();
    again.writable.fill(1, 4);
    device.complete(again);
    device.flush();
    expect(pair.driver.poll()).toEqual({ token: 0, written: 4 });
    expect(pair.driver.poll()).toEqual({ token: 1, written: 3 });
  });

  it('refuses a state that does not fit', () => {
    const { memory, areas, options, device } = makePair(8, { packed });
    const state = saveQueue(device);
    const chain = { id: 1, count: 1, readable: [0x3_0000, 1], writable: [] };
    for (const bad of [
      { nextAvailable: -1 },
      { nextUsed: 0x1_0000 },
      { nextUsed: 0.5 },
      { availableWrap: 2 },
      { inFlight: [{ ...chain, id: 8 }] },
      { inFlight: [{ ...chain, id: -1 }] },
      { inFlight: [{ ...chain, count: 9 }] },
      { inFlight: [chain, chain] },
    ]) {
      expect(() => createDeviceQueue(memory, areas, options, { ...state, ...bad })).toThrow(UsageError);
    }
    const outside = { ...state, inFlight: [{ ...chain, writable: [2 ** 40, 1] }] };
    expect(createDeviceQueue(memory, areas, options, outside)).toBeInstanceOf(PeerError);
  });

  // @holds 2.6.1.1.1 device: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Reset
  it('is silent once it is closed, and what was in flight is dead', () => {
    const pair = makePair(8, { packed });
    offer(pair, 3);
    const [first, second] = [pair.device.take()!, pair.device.take()!];
    pair.device.complete(first);
    pair.device.close();
    const before = Buffer.from(pair.memory.read(0x1000, 0x1_0000));
    expect(second.live).toBe(false);
    expect(() => second.readable.u8()).toThrow(UsageError);
    pair.device.complete(second);
    expect(() => pair.device.complete(first)).toThrow(expect.objectContaining({ code: 'CHAIN_COMPLETED' }));
    expect(pair.device.take()).toBeUndefined();
    expect(pair.device.flush()).toBe(false);
    expect([pair.device.hasAvailable(), pair.device.enableNotifications()]).toEqual([false, false]);
    expect([pair.device.error, pair.device.inFlight]).toEqual([undefined, 0]);
    expect(before.equals(pair.memory.read(0x1000, 0x1_0000))).toBe(true);
  });

  // @holds 2.6.1.2.1 device: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Re-enable
  it('starts anew, with another size as well, after a reset', () => {
    const memory = makePair(16, { packed }).memory;
    for (const size of [16, 4, 8]) {
      const pair = makePair(size, { packed }, memory);
      offer(pair, 2);
      expect(pair.device.take()?.readable.length).toBe(1);
      pair.device.complete(pair.device.take()!);
      pair.device.flush();
      expect(pair.driver.poll()).toEqual({ token: 1, written: 0 });
      pair.device.close();
    }
  });

  it('knows its own chains', () => {
    const pair = makePair(8, { packed });
    const other = makePair(8, { packed });
    offer(pair, 2);
    offer(other, 1);
    const chain = pair.device.take()!;
    const stranger = other.device.take()!;
    expect(() => pair.device.complete(stranger)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    pair.device.complete(chain);
    expect(() => pair.device.complete(chain)).toThrow(expect.objectContaining({ code: 'CHAIN_COMPLETED' }));
    expect(pair.device.inFlight).toBe(0);
  });

  it('follows its memory over a remap, and breaks when it is taken away', () => {
    const pair = makePair(8, { packed });
    const { memory } = pair;
    const region = memory.regions[0]!;
    offer(pair, 2);
    memory.remap(region, { buffer: region.bytes.slice().buffer });
    const chain = pair.device.take()!;
    memory.remap(region, { buffer: region.bytes.slice().buffer });
    chain.writable.u32(5);
    pair.device.complete(chain);
    expect(pair.device.flush()).toBe(true);
    memory.remap(region, { buffer: region.bytes.slice().buffer });
    expect(pair.driver.poll()).toEqual({ token: 0, written: 4 });
    memory.removeRegion(region);
    expect(pair.device.take()).toBeUndefined();
    expect(pair.device.error?.code).toBe('ADDRESS_OUT_OF_BOUNDS');
    expect(pair.driver.poll()).toBeUndefined();
    expect(pair.driver.error?.code).toBe('ADDRESS_OUT_OF_BOUNDS');
  });
});
