import { describe, expect, it } from 'vitest';
import { PeerError } from '../errors.ts';
import { OrderedView } from '../memory/atomics.ts';
import { Region } from '../memory/region.ts';
import { hostEndian } from '../spec/host-endian.ts';
import { makePair, type Pair } from '../virtqueue/ring.fixture.ts';
import { untake } from '../virtqueue/untake.ts';
import { inflightRegionSize } from './inflight-layout.ts';
import { PackedInflight } from './inflight-packed.ts';
import { SplitInflight } from './inflight-split.ts';

const size = 8;

/** Keeps track of a queue, as another process would that finds the region. */
function trackerOf({ memory, areas }: Pair, view: OrderedView, packed: boolean) {
  const watch = packed ? new PackedInflight(view, memory, areas) : new SplitInflight(view, size);
  const state = watch instanceof PackedInflight ? watch.recover(0x8000) : watch.recover(memory, areas, 0);
  if (state instanceof PeerError) throw state;
  return { watch, state };
}

describe.each([false, true])('what is in flight in a queue, packed: %s', (packed) => {
  it('is without the buffers that went back untaken', () => {
    const pair = makePair(size, { packed });
    const length = inflightRegionSize(size, packed);
    const region = new Region(0, { buffer: new ArrayBuffer(length) }, {});
    const view = new OrderedView(region, 0, length, hostEndian);
    const at = { address: 0x3_0000, length: 4 };
    for (const token of [1, 2, 3]) pair.driver.submit([at, { ...at, address: 0x3_0100 }], [], token);
    pair.driver.publish();
    const { watch, state } = trackerOf(pair, view, packed);
    expect(state.inFlight).toEqual([]);
    const chains = [1, 2, 3].map(() => {
      const chain = pair.device.take()!;
      watch.taken(chain);
      return chain;
    });
    expect(trackerOf(pair, view, packed).state.inFlight.length).toBe(3);
    for (const chain of [chains[2]!, chains[1]!]) {
      watch.untaken(chain);
      untake(pair.device, chain);
    }
    const after = trackerOf(pair, view, packed).state;
    expect(after.inFlight.map(({ id }) => id)).toEqual([chains[0]!.id]);
    expect(after.nextAvailable).toBe(packed ? 2 : 1);
    // As often as there is room, and more.
    for (let i = 0; i < 2 * size; i++) {
      const chain = pair.device.take()!;
      watch.taken(chain);
      watch.untaken(chain);
      untake(pair.device, chain);
    }
    const again = pair.device.take()!;
    watch.taken(again);
    const last = trackerOf(pair, view, packed).state;
    expect(last.inFlight.map(({ id, readable }) => [id, readable])).toEqual(
      [chains[0]!, again].map(({ id }) => [id, [0x3_0000, 4, 0x3_0100, 4]]),
    );
  });
});
