import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Chain } from './chain.ts';
import type { DeviceQueue, DeviceQueueState, QueuePosition } from './queue.ts';
import { everyRing, makePair, openDevice, type Pair } from './ring.fixture.ts';

const element = [{ address: 0x3_0000, length: 4 }];

/** A device that begins where a driver says, and remembers nothing. */
function another(pair: Pair, { available, used }: QueuePosition): DeviceQueue {
  const { packed } = pair.options;
  const state: DeviceQueueState = packed
    ? {
        nextAvailable: available & 0x7fff,
        availableWrap: available >>> 15,
        nextUsed: used & 0x7fff,
        usedWrap: used >>> 15,
        inFlight: [],
      }
    : { nextAvailable: available, nextUsed: used, availableWrap: 1, usedWrap: 1, inFlight: [] };
  return openDevice(pair.memory, pair.areas, pair.options, state);
}

/** What it takes and gives back, one after the other, as tokens. */
function drain(pair: Pair, device: DeviceQueue): number[] {
  const tokens: number[] = [];
  for (let chain = device.take(); chain !== undefined; chain = device.take()) {
    device.complete(chain);
    device.flush();
    for (let used = pair.driver.poll(); used !== undefined; used = pair.driver.poll())
      tokens.push(used.token);
  }
  return tokens;
}

describe.each(everyRing)('a $name ring whose device died', ({ options }) => {
  const step = fc.oneof(
    fc.record({ submit: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ take: fc.constant(true) }),
    fc.record({ complete: fc.nat({ max: 7 }) }),
  );

  it('gives another all that was in flight, oldest first, or says that it cannot', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const pair = makePair(8, { ...options, indirectPolicy: 'auto' });
        const taken: Chain[] = [];
        const back = new Set<number>();
        let submitted = 0;
        for (const one of steps) {
          if ('submit' in one) {
            const readable = Array.from({ length: one.submit }, () => element[0]!);
            if (pair.driver.submit(readable, [], submitted)) submitted++;
            pair.driver.publish();
          } else if ('take' in one) {
            const chain = pair.device.take();
            if (chain !== undefined) taken.push(chain);
          } else if (taken.length > 0) {
            pair.device.complete(taken.splice(one.complete % taken.length, 1)[0]!);
            pair.device.flush();
          }
        }
        for (let used = pair.driver.poll(); used !== undefined; used = pair.driver.poll())
          back.add(used.token);
        const due = Array.from({ length: submitted }, (_, token) => token).filter(
          (token) => !back.has(token),
        );
        const position = pair.driver.restart(false);
        if (position === undefined) {
          // Only descriptors of a packed ring are overwritten, and only when a buffer overtook another.
          expect(options.packed && !options.inOrder).toBe(true);
          expect(Math.max(...back)).toBeGreaterThan(due[0] ?? 0);
          return;
        }
        expect(drain(pair, another(pair, position))).toEqual(due);
        expect(pair.driver.error).toBeUndefined();
        expect(pair.driver.inFlight).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  it('leaves the ring alone for one that remembers', () => {
    const pair = makePair(8, options);
    for (let token = 0; token < 3; token++) pair.driver.submit(element, [], token);
    pair.driver.publish();
    const before = pair.memory.read(pair.areas.driver, 16);
    expect(pair.driver.restart(true)).toBeDefined();
    expect(pair.memory.read(pair.areas.driver, 16)).toEqual(before);
  });
});
