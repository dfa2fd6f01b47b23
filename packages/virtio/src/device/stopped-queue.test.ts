import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../memory/guest-memory.ts';
import { deviceType } from '../spec/device-type.ts';
import { le32, struct } from '../spec/layout.ts';
import { status } from '../spec/status.ts';
import type { Chain } from '../virtqueue/chain.ts';
import { createDriverQueue } from '../virtqueue/create.ts';
import { packedRing } from '../virtqueue/packed/ring.ts';
import type { DriverQueue } from '../virtqueue/queue.ts';
import type { QueueWatch } from './active-queue.ts';
import { DeviceCore } from './core.ts';
import { device } from './device.ts';
import { restoreOwnState, saveOwnState } from './own-state.ts';
import { holdQueue, startQueue, stopQueue } from './queue-control.ts';

const type = deviceType({
  id: 4,
  name: 'sample',
  features: {},
  queues: { requestq: { from: 0 } },
  config: struct('sample_config', { level: le32 }),
  driverWritable: ['level'],
});

/** A device that keeps its requests until it is told to finish one, and its driver's end of the queue. */
function live(packed: boolean): {
  readonly core: DeviceCore;
  readonly taken: number[];
  readonly finish: (() => void)[];
  readonly driver: DriverQueue<number>;
  offer(token: number): void;
} {
  const memory = GuestMemory.ofSize(2 ** 16);
  const taken: number[] = [];
  const finish: (() => void)[] = [];
  const made = device(type, {
    serve: {
      requestq: (chain) => {
        taken.push(chain.readable.u8());
        return new Promise((resolve) => finish.push(resolve));
      },
    },
  });
  const core = new DeviceCore(made, { memory, packedRing, interruptQueue() {}, interruptConfig() {} });
  const areas = { size: 4, descriptor: 0x1000, driver: 0x2000, device: 0x3000 };
  const features = type.featureSet(packed ? ['VERSION_1', 'RING_PACKED'] : ['VERSION_1']);
  const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK } = status;
  core.writeStatus(ACKNOWLEDGE | DRIVER);
  for (const word of [0, 1]) core.writeDriverFeatures(word, features.word(word));
  core.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
  const ring = { packed, eventIdx: false, indirect: false, inOrder: false, endian: 'little' } as const;
  const driver = createDriverQueue<number>(memory, areas, ring);
  Object.assign(core.queues[0] ?? {}, areas);
  core.enableQueue(0);
  core.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  return {
    core,
    taken,
    finish,
    driver,
    offer(token) {
      const address = 0x4000 + token;
      memory.write(address, Uint8Array.of(token));
      driver.submit([{ address, length: 1 }], [], token);
      driver.publish();
      core.notify(0);
    },
  };
}

describe.each([false, true])('a queue that a transport takes out of use (packed: %s)', (packed) => {
  it('takes nothing while it is held, and what has come when it no longer is', () => {
    const { core, taken, offer } = live(packed);
    holdQueue(core, 0, true);
    offer(1);
    expect(taken).toEqual([]);
    holdQueue(core, 0, false);
    expect(taken).toEqual([1]);
  });

  it('stops behind what it has taken, and goes on where it stopped', async () => {
    const { core, taken, finish, driver, offer } = live(packed);
    for (const token of [1, 2, 3]) offer(token);
    const stopped = stopQueue(core, 0);
    offer(4);
    for (const done of finish.splice(0)) done();
    const from = await stopped;
    expect(from).toMatchObject({ nextAvailable: 3, nextUsed: 3, inFlight: [] });
    expect([driver.poll()?.token, driver.poll()?.token, driver.poll()?.token]).toEqual([1, 2, 3]);
    expect(core.queues[0]?.enabled).toBe(false);
    expect(await stopQueue(core, 0)).toBeUndefined();
    if (from !== undefined) startQueue(core, 0, from);
    core.notify(0);
    expect(taken).toEqual([1, 2, 3, 4]);
  });

  it('gives no place to go on when the device is reset meanwhile', async () => {
    const { core, offer } = live(packed);
    offer(1);
    const stopped = stopQueue(core, 0);
    core.reset();
    expect(await stopped).toBeUndefined();
  });

  it('is watched where a transport wants it', async () => {
    const { core, finish, offer } = live(packed);
    const from = await stopQueue(core, 0);
    const seen: string[] = [];
    const watch: QueueWatch = {
      taken: (chain: Chain) => void seen.push(`taken ${chain.id}`),
      untaken: (chain: Chain) => void seen.push(`untaken ${chain.id}`),
      completed: (chain: Chain) => void seen.push(`completed ${chain.id}`),
      published: () => void seen.push('published'),
    };
    if (from !== undefined) startQueue(core, 0, from, watch);
    offer(1);
    finish[0]?.();
    await core.idle();
    const id = packed ? seen[0]?.split(' ')[1] : '0';
    expect(seen.filter((what, i) => what !== 'published' || seen[i - 1] !== 'published')).toEqual([
      `taken ${id}`,
      'published',
      `completed ${id}`,
      'published',
    ]);
  });
});

it('keeps what is the device’s alone apart from its queues', () => {
  const { core } = live(false);
  core.writeConfig(0, 4, 7);
  const own = saveOwnState(core);
  const { core: other } = live(false);
  restoreOwnState(other, JSON.parse(JSON.stringify(own)));
  expect(other.readConfig(0, 4)).toBe(7);
  expect(() => restoreOwnState(other, { ...own, type: 5 })).toThrow(/does not fit/);
});
