import { describe, expect, it } from 'vitest';
import type { ActiveQueue } from '../../device/active-queue.ts';
import { type DeviceBehaviour, device } from '../../device/device.ts';
import { restoreDevice } from '../../device/saving.ts';
import { open } from '../../driver/open.ts';
import type { OpenDevice } from '../../driver/open-device.ts';
import { HostError, type VirtioError } from '../../errors.ts';
import { deviceType } from '../../spec/device-type.ts';
import { le32, struct } from '../../spec/layout.ts';
import { status } from '../../spec/status.ts';
import { Recorder } from '../../testing/recorder.ts';
import { TransportProxy } from '../../testing/transport-proxy.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import { Loopback } from './loopback.ts';

const type = deviceType({
  id: 4,
  name: 'sample',
  features: {},
  queues: { requestq: 0, eventq: 1 },
  config: struct('sample_config', { level: le32, wish: le32 }),
  driverWritable: ['wish'],
});
type Behaviour = DeviceBehaviour<typeof type>;

const echo = ({ readable, writable }: Chain): void => void writable.write(readable.bytes(readable.remaining));
const ask = (opened: OpenDevice<typeof type>, ...bytes: number[]): Promise<number[]> =>
  opened
    .queue('requestq')
    .request(Uint8Array.from(bytes), bytes.length)
    .then((answer) => [...answer]);

/** As many turns as anything here needs. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

async function pair(behaviour: Behaviour, options: { packed?: boolean; queueSize?: number } = {}) {
  const errors: VirtioError[] = [];
  const failures: Error[] = [];
  const made = device(type, behaviour);
  const loopback = new Loopback(made, { onError: (error) => void errors.push(error) });
  const recorder = new Recorder(loopback);
  const reserved = ['RING_RESET', 'SUSPEND', ...(options.packed ? (['RING_PACKED'] as const) : [])] as const;
  const reopen = () =>
    open(recorder, type, {
      features: [],
      reserved,
      queueSize: options.queueSize ?? 16,
      onFailure: (error) => void failures.push(error),
    });
  return { made, loopback, recorder, errors, failures, reopen, opened: await reopen() };
}

/** A handler that answers when it is told to. */
function patient() {
  const waiting: (() => void)[] = [];
  const serve = async (chain: Chain): Promise<void> => {
    await new Promise<void>((resolve) => waiting.push(resolve));
    echo(chain);
  };
  return { waiting, serve };
}

describe.each([{ packed: false }, { packed: true }])('a device and its driver, packed: $packed', (ring) => {
  it('answer at once, and out of order when the device takes its time', async () => {
    const { waiting, serve } = patient();
    const { opened } = await pair({ serve: { requestq: serve } }, ring);
    const order: number[] = [];
    const all = [1, 2, 3].map((n) => ask(opened, n).then(([byte]) => void order.push(byte ?? -1)));
    await turns();
    for (const index of [2, 0, 1]) waiting[index]?.();
    await Promise.all(all);
    expect(order).toEqual([3, 1, 2]);
    await opened.close();
  });

  it('go on while the ring is full: what finds no room waits its turn', async () => {
    const { opened } = await pair({ serve: { requestq: echo } }, { ...ring, queueSize: 4 });
    const all = Array.from({ length: 500 }, (_, n) => ask(opened, n & 0xff, n >>> 8));
    expect(opened.queue('requestq').pending).toBe(500);
    const answers = await Promise.all(all);
    expect(answers).toEqual(Array.from({ length: 500 }, (_, n) => [n & 0xff, n >>> 8]));
    await opened.close();
  });

  it('exchange more buffers than an index can count (D10)', async () => {
    const { opened } = await pair({ serve: { requestq: echo } }, { ...ring, queueSize: 8 });
    const queue = opened.queue('requestq');
    const address = queue.allocator.allocate(2);
    let done = 0;
    await new Promise<void>((resolve) => {
      const next = (): void => {
        queue.submit([{ address, length: 1 }], [{ address: address + 1, length: 1 }], (written) => {
          if (written === 1) done++;
          if (done === 70_000) resolve();
          else next();
        });
      };
      next();
    });
    expect(done).toBe(70_000);
    await opened.close();
  });

  it('ignore a completion that comes after a reset', async () => {
    const { waiting, serve } = patient();
    const { opened, reopen, errors } = await pair({ serve: { requestq: serve } }, ring);
    const lost = ask(opened, 1);
    await turns();
    await Promise.all([expect(lost).rejects.toMatchObject({ code: 'DEVICE_GONE' }), opened.close()]);
    const again = await reopen();
    const answer = ask(again, 2);
    await turns();
    waiting[0]?.();
    await turns();
    waiting[1]?.();
    expect(await answer).toEqual([2]);
    expect(errors).toEqual([]);
    await again.close();
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('a bug');
      },
    ],
    ['rejects', () => Promise.reject(new Error('a bug'))],
    ['throws a HostError', () => Promise.reject(new HostError('IO_ERROR', 'a bug'))],
  ] as const)('survive a handler that %s: what waits fails, and a reset brings it back', async (_, fail) => {
    let broken = true;
    const serve = (chain: Chain) => (broken ? fail() : echo(chain));
    const { opened, loopback, reopen, errors, failures } = await pair({ serve: { requestq: serve } }, ring);
    await expect(ask(opened, 1)).rejects.toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
    expect(loopback.core.status & status.DEVICE_NEEDS_RESET).not.toBe(0);
    expect([errors.map(({ code }) => code), failures.length]).toEqual([['IO_ERROR'], 1]);
    expect(() => opened.queue('requestq').submit([], [], () => {})).toThrow(/needs a reset/);
    await opened.close();
    broken = false;
    const again = await reopen();
    expect(await ask(again, 7)).toEqual([7]);
    await again.close();
  });

  it('break the queue over a request that is too short, with its clause, until a reset', async () => {
    const serve = (chain: Chain): void => {
      chain.readable.u32();
      echo(chain);
    };
    const { opened, reopen, errors } = await pair({ serve: { requestq: serve } }, ring);
    await expect(ask(opened, 1, 2)).rejects.toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
    expect(errors).toMatchObject([{ name: 'PeerError', code: 'BAD_REQUEST' }]);
    await opened.close();
    const again = await reopen();
    expect(await ask(again, 1, 2, 3, 4, 5)).toEqual([5]);
    await again.close();
  });

  it('keep queues apart, and let a device take buffers when it has something for them', async () => {
    let eventq: ActiveQueue | undefined;
    const { opened } = await pair(
      {
        serve: { requestq: echo },
        activate: (active) => {
          eventq = active.queue('eventq');
        },
      },
      ring,
    );
    const events = [
      opened.queue('eventq').request(new Uint8Array(), 4),
      opened.queue('eventq').request(new Uint8Array(), 4),
    ];
    expect(await ask(opened, 9)).toEqual([9]);
    const first = await eventq?.next();
    const second = eventq?.take();
    expect([first?.live, second?.live, eventq?.take()]).toEqual([true, true, undefined]);
    const third = eventq?.next();
    if (first !== undefined && second !== undefined) {
      second.writable.u8(2);
      eventq?.complete(second);
      first.writable.u8(1);
      eventq?.complete(first);
    }
    expect((await Promise.all(events)).map((event) => [...event])).toEqual([[1], [2]]);
    const later = opened.queue('eventq').request(new Uint8Array(), 1);
    const taken = await third;
    expect(taken?.live).toBe(true);
    const unheard = eventq?.next();
    await Promise.all([expect(later).rejects.toThrow(), opened.close()]);
    expect([await unheard, taken?.live]).toEqual([undefined, false]);
  });

  // @holds 3.4.1 driver: General Initialization And Device Operation / Device Suspend
  it('suspend when all that was begun is done; nothing is offered, kicked or configured until it is resumed', async () => {
    const { waiting, serve } = patient();
    const { opened, recorder, loopback } = await pair({ serve: { requestq: serve } }, ring);
    const begun = ask(opened, 1);
    await turns();
    const suspending = opened.suspend();
    const meanwhile = ask(opened, 2);
    await turns();
    expect(loopback.core.status & status.SUSPEND).toBe(0);
    waiting[0]?.();
    await suspending;
    expect(await begun).toEqual([1]);
    expect(loopback.core.status & (status.SUSPEND | status.DRIVER_OK)).toBe(status.SUSPEND);
    const kicks = recorder.of('kick').length;
    const also = ask(opened, 3);
    await expect(opened.writeConfig('wish', 1)).rejects.toMatchObject({ code: 'BAD_STATE' });
    await turns();
    expect([recorder.of('kick').length, recorder.of('writeConfig').length, waiting.length]).toEqual([
      kicks,
      0,
      1,
    ]);
    await opened.resume();
    expect(recorder.of('readStatus').at(-1)?.value).toBe(loopback.core.status);
    await turns();
    for (const answer of waiting) answer();
    expect([await meanwhile, await also]).toEqual([[2], [3]]);
    await opened.close();
  });

  it('take a device that will not suspend for what it is, and use it on', async () => {
    const { loopback } = await pair({ serve: { requestq: echo } }, ring);
    class Restless extends TransportProxy {
      override async writeStatus(value: number): Promise<void> {
        await super.writeStatus(value & ~status.SUSPEND);
      }
    }
    const opened = await open(new Restless(loopback), type, { features: [], reserved: ['SUSPEND'] });
    await expect(opened.suspend()).rejects.toMatchObject({ code: 'RESET_INCOMPLETE' });
    expect(await ask(opened, 5)).toEqual([5]);
    await opened.close();
  });

  it('tell of configuration changes, once each, and show them whole', async () => {
    const levels: (number | undefined)[] = [];
    const made = device(type, { serve: { requestq: echo } });
    const loopback = new Loopback(made);
    const opened = await open(loopback, type, {
      features: [],
      onConfigChange: () => void opened.refreshConfig().then(({ level }) => levels.push(level)),
    });
    made.updateConfig({ level: 7 });
    await turns();
    made.updateConfig({ level: 8 });
    await turns();
    expect(levels).toEqual([7, 8]);
    await opened.writeConfig('wish', 0x0102_0304);
    expect(made.config).toEqual({ level: 8, wish: 0x0102_0304 });
    await opened.close();
  });

  it('go on after a restore: pending requests are served again, and the driver is notified again', async () => {
    const first = patient();
    const { opened, loopback } = await pair({ serve: { requestq: first.serve } }, ring);
    const answers = [1, 2, 3].map((n) => ask(opened, n));
    await turns();
    first.waiting[1]?.();
    await turns();
    const state = JSON.parse(JSON.stringify(loopback.save()));
    // The machine goes on in another process: the same memory, a new device, the driver none the wiser.
    const { memory, allocator } = loopback;
    const served: number[] = [];
    const other = new Loopback(
      device(type, {
        serve: {
          requestq: (chain) => {
            served.push(chain.id);
            echo(chain);
          },
        },
      }),
      { memory, allocator },
    );
    other.listen({ usedBuffer: (queue) => opened.usedBuffer(queue), configChange: () => {} });
    restoreDevice(other.core, state);
    other.core.resume();
    expect((await Promise.all(answers)).flat()).toEqual([1, 2, 3]);
    expect(served).toHaveLength(2);
  });

  it('work with queues of one descriptor, as far as a buffer of one element goes (D5)', async () => {
    const made = device(type, {
      queues: { requestq: { size: 1 }, eventq: { size: 1 } },
      serve: { requestq: ({ writable }) => writable.u8(42) },
    });
    const reserved = ring.packed ? (['RING_PACKED'] as const) : [];
    const opened = await open(new Loopback(made), type, { features: [], reserved });
    const answers = [1, 2, 3].map(() => opened.queue('requestq').request(new Uint8Array(), 1));
    expect((await Promise.all(answers)).map(([byte]) => byte)).toEqual([42, 42, 42]);
    await expect(ask(opened, 1)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await opened.close();
  });

  it.each([2, 4, 5, 7, 100])('work with queues of at most %d descriptors (D5)', async (size) => {
    const made = device(type, {
      queues: { requestq: { size }, eventq: { size } },
      serve: { requestq: echo },
    });
    const reserved = ring.packed ? (['RING_PACKED', 'INDIRECT_DESC'] as const) : (['INDIRECT_DESC'] as const);
    const opened = await open(new Loopback(made), type, { features: [], reserved });
    expect(opened.queue('requestq').size).toBe(ring.packed ? size : 2 ** Math.floor(Math.log2(size)));
    for (let n = 0; n < 3 * size; n++) expect(await ask(opened, n)).toEqual([n & 0xff]);
    await opened.close();
  });
});

describe('a device without one of its queues (D5)', () => {
  it('is refused by a driver that needs it, with FAILED set', async () => {
    const loopback = new Loopback(device(type, { queues: { eventq: { count: 0 } } }));
    await expect(open(loopback, type, { features: [] })).rejects.toMatchObject({ code: 'QUEUE_MISSING' });
    expect(loopback.core.status & status.FAILED).toBe(status.FAILED);
  });
});

describe('a driver that does not accept VERSION_1 (D1)', () => {
  it('is told which clause it broke', () => {
    const errors: VirtioError[] = [];
    const { core } = new Loopback(device(type, {}), { onError: (error) => void errors.push(error) });
    core.writeStatus(status.ACKNOWLEDGE);
    core.writeStatus(status.ACKNOWLEDGE | status.DRIVER);
    core.writeStatus(status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK);
    expect(core.status & status.FEATURES_OK).toBe(0);
    expect(errors).toMatchObject([{ code: 'FEATURES_REFUSED', clause: 'driver: Reserved Feature Bits' }]);
  });
});

describe('used lengths', () => {
  // @holds 2.7.8.3 driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Used Ring
  it('are where a response ends: what lies behind is not shown', async () => {
    const { opened } = await pair({ serve: { requestq: ({ writable }) => writable.u8(1) } });
    const { memory, allocator } = opened.transport;
    const stale = allocator.allocate(64);
    memory.write(stale, new Uint8Array(64).fill(0xee));
    allocator.free(stale);
    const answer = await opened.queue('requestq').request(Uint8Array.of(1), 32);
    expect([...answer]).toEqual([1]);
    await opened.close();
  });
});
