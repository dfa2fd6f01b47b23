import { describe, expect, it } from 'vitest';
import { device } from '../device/device.ts';
import { Allocator } from '../memory/allocator.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { deviceType } from '../spec/device-type.ts';
import { TransportProxy } from '../testing/transport-proxy.ts';
import { Loopback } from '../transports/loopback/loopback.ts';
import { open } from './open.ts';

const type = deviceType({
  id: 4,
  name: 'sample',
  features: {},
  queues: { requestq: 0, eventq: 1 },
});

const echo = () =>
  device(type, {
    serve: { requestq: ({ readable, writable }) => void writable.write(readable.bytes(readable.remaining)) },
  });

function shared() {
  const memory = GuestMemory.ofSize(2 ** 20);
  const allocator = new Allocator(4096, 2 ** 20 - 4096);
  return { memory, allocator, before: allocator.available };
}

describe('the memory of a driver', () => {
  it('is all given back, however often a device is opened and closed', async () => {
    const { memory, allocator, before } = shared();
    const made = echo();
    for (let time = 0; time < 1000; time++) {
      const opened = await open(new Loopback(made, { memory, allocator }), type, { features: [] });
      await opened.queue('requestq').request(Uint8Array.of(1, 2, 3), 3);
      await opened.close();
    }
    expect(allocator.available).toBe(before);
  });

  // @holds 2.6.1.1.2 driver: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Reset
  // @holds 2.6.1.2.2 driver: Basic Facilities of a Virtio Device / Virtqueues / Virtqueue Reset / Virtqueue Re-enable
  it('is given back with a queue that is reset, which is then set up from the beginning, of another size', async () => {
    const { memory, allocator } = shared();
    const enabled: number[] = [];
    const reset: string[] = [];
    class Watched extends TransportProxy {
      override enableQueue(...queue: Parameters<Loopback['enableQueue']>): Promise<void> {
        enabled.push(queue[1].size);
        return super.enableQueue(...queue);
      }
      override async resetQueue(index: number): Promise<void> {
        await super.resetQueue(index);
        reset.push(`queue ${index} is reset`);
      }
    }
    const opened = await open(new Watched(new Loopback(echo(), { memory, allocator })), type, {
      features: [],
    });
    const level = allocator.available;
    for (const size of [4, 64, 2, 256, 256]) {
      const waiting = opened.queue('eventq').request(new Uint8Array(), 8);
      waiting.catch(() => {});
      await opened.resetQueue('eventq');
      await expect(waiting).rejects.toMatchObject({ code: 'DEVICE_GONE' });
      await opened.enableQueue('eventq', 0, size);
      expect(opened.queue('eventq').size).toBe(size);
    }
    expect(enabled).toEqual([256, 256, 4, 64, 2, 256, 256]);
    expect(reset).toHaveLength(5);
    expect(allocator.available).toBe(level);
    await opened.close();
  });

  // @holds 3.3.1 driver: General Initialization And Device Operation / Device Cleanup
  it('stays the device’s after a failure, until a reset', async () => {
    const { memory, allocator, before } = shared();
    const loopback = new Loopback(echo(), { memory, allocator });
    const opened = await open(loopback, type, { features: [] });
    const level = allocator.available;
    const waiting = opened.queue('eventq').request(new Uint8Array(), 8);
    opened.fail(new Error('the device broke'));
    await expect(waiting).rejects.toThrow('the device broke');
    expect(allocator.available).toBeLessThan(level);
    await opened.close();
    expect(allocator.available).toBe(before);
  });

  it('is given back when initialisation fails at any step', async () => {
    for (const failing of ['queueMaxSize', 'enableQueue', 'writeDriverFeatures'] as const) {
      const { memory, allocator, before } = shared();
      const loopback = new Loopback(echo(), { memory, allocator });
      let calls = 0;
      const spoilt: Loopback = new Proxy(loopback, {
        get(target, name) {
          // A proxy is asked for the names of the object's own members alone.
          const value: unknown = Reflect.get(target, name, target);
          if (typeof value !== 'function') return value;
          return (...given: unknown[]) => {
            if (name === failing && (calls++ > 0 || failing === 'writeDriverFeatures')) throw new Error('no');
            return Reflect.apply(value, target, given);
          };
        },
      });
      await expect(open(spoilt, type, { features: [] })).rejects.toThrow('no');
      expect(allocator.available).toBe(before);
    }
  });

  it('is kept from a device that cannot be reset, and what waits there fails all the same', async () => {
    const { memory, allocator, before } = shared();
    class Stuck extends TransportProxy {
      stuck = false;
      override async readStatus(): Promise<number> {
        return (await super.readStatus()) | (this.stuck ? 1 : 0);
      }
    }
    const stuck = new Stuck(new Loopback(echo(), { memory, allocator }));
    const opened = await open(stuck, type, { features: [] });
    const waiting = opened.queue('eventq').request(new Uint8Array(), 8);
    stuck.stuck = true;
    const closing = opened.close();
    await expect(waiting).rejects.toMatchObject({ code: 'DEVICE_GONE' });
    await expect(closing).rejects.toMatchObject({ code: 'RESET_INCOMPLETE' });
    expect(allocator.available).toBeLessThan(before);
  });

  it('is given back when it does not suffice for a queue', async () => {
    for (const length of [2048, 4096, 4112, 8192]) {
      const memory = GuestMemory.ofSize(2 ** 20);
      const allocator = new Allocator(4096, length);
      const loopback = new Loopback(echo(), { memory, allocator });
      await expect(open(loopback, type, { features: [], queueSize: 256 })).rejects.toMatchObject({
        code: 'OUT_OF_MEMORY',
      });
      expect(allocator.available).toBe(length);
    }
  });

  it('is not lost by setting a queue up twice, which is refused', async () => {
    const { memory, allocator } = shared();
    const opened = await open(new Loopback(echo(), { memory, allocator }), type, { features: [] });
    const level = allocator.available;
    await expect(opened.enableQueue('requestq')).rejects.toMatchObject({ code: 'BAD_STATE' });
    expect(allocator.available).toBe(level);
    expect(await opened.queue('requestq').request(Uint8Array.of(7), 1)).toEqual(Uint8Array.of(7));
    await opened.close();
  });
});

describe('what is submitted while the device is being taken away', () => {
  class Kicks extends TransportProxy {
    kicked = 0;
    meanwhile = (): void => {};
    override kick(...given: Parameters<TransportProxy['kick']>): void {
      this.kicked++;
      super.kick(...given);
    }
    override async resetQueue(index: number): Promise<void> {
      this.meanwhile();
      await super.resetQueue(index);
      this.meanwhile();
    }
    override async writeStatus(value: number): Promise<void> {
      await super.writeStatus(value);
      if (value === 0) this.meanwhile();
    }
  }

  it.each(['close', 'resetQueue'] as const)('by %s is not offered, and fails', async (how) => {
    const transport = new Kicks(new Loopback(echo()));
    const opened = await open(transport, type, { features: [] });
    const lost: Promise<unknown>[] = [];
    transport.meanwhile = () => {
      const request = opened.queue('requestq').request(Uint8Array.of(1), 1);
      lost.push(Promise.resolve(expect(request).rejects.toMatchObject({ code: 'DEVICE_GONE' })));
    };
    if (how === 'close') await opened.close();
    else await opened.resetQueue('requestq');
    expect(lost.length).toBeGreaterThan(0);
    await Promise.all(lost);
    expect(transport.kicked).toBe(0);
  });
});
