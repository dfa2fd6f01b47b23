import { expect, it } from 'vitest';
import { open } from '../driver/open.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { deviceType } from '../spec/device-type.ts';
import { connectPci } from '../transports/pci/connect.ts';
import { device } from './device.ts';

const type = deviceType({ id: 4, name: 'sample', features: {}, queues: { requestq: 0 } });

it.each([
  [8 * 2 ** 20, 1],
  [512, 20],
])(
  'requests of 8 times %i bytes are served %i in a turn, and the rest in the turns that follow',
  async (length, most) => {
    const later: (() => void)[] = [];
    let served = 0;
    const made = device(type, {
      serve: {
        requestq: () => {
          served++;
        },
      },
    });
    const pciFunction = { defer: (task: () => void): void => void later.push(task) };
    const { transport } = await connectPci(made, { memory: GuestMemory.ofSize(2 ** 24), pciFunction });
    const opened = await open(transport, type, { features: [], reserved: ['INDIRECT_DESC'] });
    const queue = opened.queue('requestq');
    // Eight times the same bytes: a driver may say so.
    const writable = Array.from({ length: 8 }, () => ({ address: 4096, length }));
    opened.queue('requestq').pause();
    let done = 0;
    for (let i = 0; i < 20; i++) queue.submit([], writable, () => done++);
    opened.queue('requestq').unpause();
    expect(served).toBe(most);
    let turns = 0;
    for (let task = later.shift(); task !== undefined; task = later.shift()) {
      const before = served;
      task();
      expect(served - before).toBeLessThanOrEqual(most);
      turns++;
    }
    expect([served, turns]).toEqual([20, 20 / most - 1 + Number(most < 20)]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(20);
    await opened.close();
  },
);
