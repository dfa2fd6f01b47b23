import { describe, expect, it } from 'vitest';
import { open } from '../driver/open.ts';
import { deviceType } from '../spec/device-type.ts';
import { connectPci } from '../transports/pci/connect.ts';
import { packedRing } from '../virtqueue/index.ts';
import { device } from './device.ts';
import type { PolledQueue } from './polled-queue.ts';
import { pollQueues } from './polling.ts';

const type = deviceType({ id: 4, name: 'sample', features: {}, queues: { requestq: 0, eventq: 1 } });

const rings = [false, true].flatMap((packed) => [false, true].map((eventIdx) => ({ packed, eventIdx })));

describe.each(rings)('a host that looks at queues, packed: $packed, event index: $eventIdx', (ring) => {
  async function polled() {
    const lingering = new Set<PolledQueue>();
    const log: string[] = [];
    let notified = 0;
    const made = device(type, {
      serve: {
        requestq({ readable, writable }) {
          log.push('served');
          writable.write(readable.bytes(readable.remaining));
        },
      },
      available: { eventq() {} },
    });
    const { transport } = await connectPci(made, {
      pciFunction: {
        packedRing,
        polling: pollQueues({ linger: (queue) => void lingering.add(queue) }),
      },
      trace: (event) => {
        if (event.kind === 'notify') notified++;
        if (event.kind === 'interrupt') log.push('told');
      },
    });
    const opened = await open(transport, type, {
      features: [],
      reserved: [
        ...(ring.packed ? (['RING_PACKED'] as const) : []),
        ...(ring.eventIdx ? (['EVENT_IDX'] as const) : []),
      ],
    });
    const [queue] = lingering;
    if (queue === undefined) throw new Error('the queue did not run empty');
    return { opened, queue, lingering, log, notifications: () => notified };
  }

  it('is not notified, finds requests by itself, and is notified once it rests', async () => {
    const { opened, queue, lingering, notifications } = await polled();
    const requestq = opened.queue('requestq');
    expect(queue.look()).toBe(false);
    expect(queue.rest()).toBe(false);
    const first = notifications();
    expect(await requestq.request(Uint8Array.of(1), 1)).toEqual(Uint8Array.of(1));
    expect(notifications()).toBe(first + 1);
    for (let count = 0; count < 600; count++) {
      const answer = requestq.request(Uint8Array.of(count), 1);
      expect(queue.look()).toBe(true);
      expect(queue.look()).toBe(false);
      expect(await answer).toEqual(Uint8Array.of(count));
    }
    expect(notifications()).toBe(first + 1);
    expect(lingering.size).toBe(1);
    const late = requestq.request(Uint8Array.of(7), 1);
    expect(queue.rest()).toBe(true); // it came before anybody was asked to tell of it
    expect(await late).toEqual(Uint8Array.of(7));
    expect(queue.rest()).toBe(false);
    expect(await requestq.request(Uint8Array.of(8), 1)).toEqual(Uint8Array.of(8));
    expect(notifications()).toBe(first + 2);
    await opened.close();
  });

  it('shows the driver what is done while it does the rest: four short requests, or one long one', async () => {
    const { opened, queue, log } = await polled();
    const requestq = opened.queue('requestq');
    for (const [length, each] of [
      [1, ['served', 'served', 'served', 'served', 'told']],
      [60_000, ['served', 'told']],
    ] as const) {
      log.length = 0;
      const answers = [...each, ...each]
        .filter((what) => what === 'served')
        .map(() => requestq.request(new Uint8Array(length).fill(3), length));
      queue.look();
      for (const answer of await Promise.all(answers)) expect(answer).toHaveLength(length);
      // With an event index the driver is not told again before it has seen all.
      if (ring.eventIdx) expect(log.indexOf('told')).toBeLessThan(log.lastIndexOf('served'));
      else expect(log).toEqual([...each, ...each]);
    }
    await opened.close();
  });

  it('has nothing to look at after a reset', async () => {
    const { opened, queue } = await polled();
    await opened.close();
    expect(queue.look()).toBe(false);
    expect(queue.rest()).toBe(false);
  });
});
