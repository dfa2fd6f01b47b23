import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Chain } from './chain.ts';
import type { BufferElement } from './queue.ts';
import { everyRing, makePair, openDevice, type Pair } from './ring.fixture.ts';
import { saveQueue } from './saved-chain.ts';

/** What either side may do next; `pick` chooses among what is there. */
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('submit' as const), count: fc.nat(4), split: fc.nat(4) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('publish' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('take' as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('complete' as const), pick: fc.nat(), fill: fc.nat(40) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('poll' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restore' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remap' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** A plain list of buffers: what a queue would be if memory were not shared. */
interface Buffer {
  readonly token: number;
  readonly descriptors: number;
  readonly readable: number;
  readonly writable: number;
  written: number;
}

class Model {
  readonly #pair: Pair;
  #device: Pair['device'];
  #tokens = 0;
  readonly #submitted: Buffer[] = [];
  readonly #available: Buffer[] = [];
  /** In the order in which they were taken; a restore gives them out again. */
  #taken: { buffer: Buffer; chain: Chain | undefined; completed: boolean }[] = [];
  readonly #completed: Buffer[] = [];
  readonly #used: Buffer[] = [];

  constructor(pair: Pair) {
    this.#pair = pair;
    this.#device = pair.device;
  }

  run(step: Step): void {
    switch (step.do) {
      case 'submit':
        this.#submit(step.count, step.split);
        return;
      case 'publish':
        this.#pair.driver.publish();
        this.#available.push(...this.#submitted.splice(0));
        return;
      case 'take':
        this.#take();
        return;
      case 'complete':
        this.#complete(step.pick, step.fill);
        return;
      case 'flush':
        this.#device.flush();
        this.#used.push(...this.#completed.splice(0));
        return;
      case 'poll':
        this.#poll();
        return;
      case 'restore':
        this.#restore();
        return;
      case 'remap': {
        const { memory } = this.#pair;
        const region = memory.regions[0]!;
        memory.remap(region, { buffer: region.bytes.slice().buffer });
      }
    }
  }

  check(): void {
    const { driver } = this.#pair;
    const outside = [
      ...this.#submitted,
      ...this.#available,
      ...this.#taken.map(({ buffer }) => buffer),
      ...this.#completed,
      ...this.#used,
    ];
    const descriptors = outside.reduce((sum, one) => sum + one.descriptors, 0);
    const waiting = this.#taken.filter(({ chain }) => chain === undefined).length;
    const live = this.#taken.filter(({ chain, completed }) => chain !== undefined && !completed).length;
    // One comparison: this is done after each of some hundred thousand steps.
    expect([
      ...[driver.error, driver.inFlight, driver.free],
      ...[this.#device.error, this.#device.inFlight, this.#device.hasAvailable()],
    ]).toEqual([
      ...[undefined, outside.length, driver.size - descriptors],
      ...[undefined, live, waiting + this.#available.length > 0],
    ]);
  }

  #submit(count: number, split: number): void {
    const { driver, options } = this.#pair;
    const elements: BufferElement[] = Array.from({ length: Math.min(count + 1, driver.size) }, (_, i) => ({
      address: 0x3_0000 + 16 * i,
      length: (i * 7 + count) % 12,
    }));
    const readable = elements.slice(0, split);
    const writable = elements.slice(split);
    const bytes = (part: BufferElement[]) => part.reduce((sum, { length }) => sum + length, 0);
    const descriptors = options.indirect && elements.length > 1 ? 1 : elements.length;
    const fits = driver.free >= descriptors;
    const token = this.#tokens++;
    expect(driver.submit(readable, writable, token)).toBe(fits);
    if (!fits) return;
    this.#submitted.push({
      token,
      descriptors,
      readable: bytes(readable),
      writable: bytes(writable),
      written: 0,
    });
  }

  #take(): void {
    const again = this.#taken.find(({ chain }) => chain === undefined);
    const chain = this.#device.take();
    const buffer = again?.buffer ?? this.#available.shift();
    expect(chain === undefined).toBe(buffer === undefined);
    if (chain === undefined || buffer === undefined) return;
    expect([chain.readable.length, chain.writable.length]).toEqual([buffer.readable, buffer.writable]);
    if (again === undefined) this.#taken.push({ buffer, chain, completed: false });
    else again.chain = chain;
  }

  #complete(pick: number, fill: number): void {
    const live = this.#taken.filter(({ chain, completed }) => chain !== undefined && !completed);
    const one = live[pick % Math.max(live.length, 1)];
    if (one?.chain === undefined) return;
    one.buffer.written = Math.min(fill, one.chain.writable.length);
    one.chain.writable.fill(fill, one.buffer.written);
    one.completed = true;
    this.#device.complete(one.chain);
    if (this.#pair.options.inOrder) {
      while (this.#taken[0]?.completed) this.#completed.push(this.#taken.shift()!.buffer);
    } else {
      this.#taken = this.#taken.filter((other) => other !== one);
      this.#completed.push(one.buffer);
    }
  }

  #poll(): void {
    const used = this.#pair.driver.poll();
    const buffer = this.#used.shift();
    expect(used && { ...used }).toEqual(buffer && { token: buffer.token, written: buffer.written });
  }

  /** Saving publishes what was completed. */
  #restore(): void {
    const { memory, areas, options } = this.#pair;
    const old = this.#device;
    const state: unknown = JSON.parse(JSON.stringify(saveQueue(old)));
    old.close();
    // What `save` gave, after a journey through JSON.
    this.#device = openDevice(memory, areas, options, state as ReturnType<typeof old.save>);
    this.#used.push(...this.#completed.splice(0));
    for (const one of this.#taken) {
      if (one.completed) continue;
      expect(one.chain?.live ?? false).toBe(false);
      one.chain = undefined;
    }
  }
}

describe.each(everyRing)('$name', ({ options }) => {
  // @holds 2.8.12 device: Basic Facilities of a Virtio Device / Packed Virtqueues
  // @holds 2.8.18 device: Basic Facilities of a Virtio Device / Packed Virtqueues / Scatter-Gather Support
  it('does what a list would do, whatever both sides do', () => {
    const sizes = options.packed ? [1, 2, 3, 5, 8] : [1, 2, 4, 8];
    void fc.assert(
      fc.property(
        fc.constantFrom(...sizes),
        fc.array(step, { maxLength: 120, size: 'max' }),
        (size, steps) => {
          const model = new Model(makePair(size, options));
          for (const one of steps) {
            model.run(one);
            model.check();
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
