import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { InMemoryDescriptors } from '../channel/in-memory.ts';
import { device } from '../device/device.ts';
import { OrderedView } from '../memory/atomics.ts';
import { deviceType } from '../spec/device-type.ts';
import { struct } from '../spec/layout.ts';
import { connect, quiet, type RawDriver } from './front-end.fixture.ts';
import { inflightRegionSize } from './inflight-layout.ts';
import { VhostUserInflight } from './payloads.ts';

const type = deviceType({
  id: 4,
  name: 'sample',
  features: {},
  queues: { requestq: { from: 0 } },
  config: struct('sample_config', {}),
});

const size = 8;
const protocol = ['INFLIGHT_SHMFD'] as const;

/** A back end whose requests of odd tokens (or of even ones) are done when it is told, and the others at once. */
function backEnd(done: number[], waits: 0 | 1) {
  const pending = new Map<number, () => void>();
  const made = device(type, {
    serve: {
      requestq(chain) {
        const token = chain.readable.u8();
        const finish = (): void => {
          done.push(token);
          chain.writable.u8(token + 1);
        };
        if (token % 2 !== waits) return finish();
        return new Promise<void>((resolve) =>
          pending.set(token, () => {
            finish();
            resolve();
          }),
        );
      },
    },
  });
  return { made, pending };
}

/** Runs `work`, and gives the bytes of memory as they are just before its ordered or plain store number `at`. */
async function killedAt(at: number, memory: Uint8Array[], work: () => Promise<void>): Promise<Uint8Array[]> {
  let stores = 0;
  let kept: Uint8Array[] | undefined;
  const keep = (): void => {
    if (stores++ === at) kept = memory.map((bytes) => bytes.slice());
  };
  const targets = [
    [OrderedView.prototype, 'storeRelease16'],
    [Atomics, 'store'],
    [DataView.prototype, 'setUint8'],
    [DataView.prototype, 'setUint16'],
    [DataView.prototype, 'setUint32'],
    [DataView.prototype, 'setBigUint64'],
  ] as const;
  const restore = targets.map(([target, name]) => {
    const original: unknown = Reflect.get(target, name);
    if (typeof original !== 'function') throw new Error(`there is no ${name}`);
    Reflect.set(target, name, function (this: unknown, ...args: unknown[]) {
      keep();
      return Reflect.apply(original, this, args);
    });
    return () => Reflect.set(target, name, original);
  });
  try {
    await work();
  } finally {
    for (const undo of restore) undo();
  }
  return kept ?? memory.map((bytes) => bytes.slice());
}

function bytesOf(host: InMemoryDescriptors, descriptor: Parameters<typeof host.map>[0], length: number) {
  const mapping = host.map(descriptor, 0, length);
  const [piece] = mapping.pieces;
  return { bytes: new Uint8Array(piece?.buffer ?? new ArrayBuffer(0), 0, length), close: mapping.close };
}

afterEach(() => vi.restoreAllMocks());

describe.each([false, true])('what is in flight (packed: %s)', (packed) => {
  const setUp = { packed, size, protocol };

  /** A front end that has been lent memory for what is in flight. */
  async function begun(done: number[], host = new InMemoryDescriptors(), waits: 0 | 1 = 1) {
    const { made, pending } = backEnd(done, waits);
    const { front, backend } = connect(made, host);
    front.begin(setUp);
    await front.reply();
    await front.reply();
    return { front, backend, pending, host };
  }

  it('is kept in memory that the front end gets, and sends back', async () => {
    const { front, host } = await begun([]);
    const lent = await front.ask('GET_INFLIGHT_FD', { num_queues: 1, queue_size: size });
    expect(lent.read(VhostUserInflight)).toMatchObject({
      mmap_size: BigInt(inflightRegionSize(size, packed)),
      num_queues: 1,
      queue_size: size,
    });
    expect(front.descriptors).toHaveLength(1);
    front.close();
    await quiet();
    expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
  });

  it('cannot be kept in too little, for too many, or while a queue runs', async () => {
    for (const [mmap_size, mmap_offset, num_queues, queue_size] of [
      [64n, 0n, 1, size],
      [4096n, 0n, 0, size],
      [4096n, 4n, 1, size],
      [2n ** 63n, 2n ** 60n, 1, size],
    ] as const) {
      const { front, host } = await begun([]);
      const memory = host.createMemory(4096);
      const value = { mmap_size, mmap_offset, num_queues, queue_size };
      front.stream.request('SET_INFLIGHT_FD', value, { descriptors: [memory] });
      await quiet();
      expect(front.over).toBeDefined();
      memory.close();
      front.close();
      await quiet();
      expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
    }
    const { front } = await begun([]);
    front.stream.request('GET_INFLIGHT_FD', { num_queues: 9, queue_size: size });
    await quiet();
    expect(front.over).toBeDefined();
  });

  it('is done once, whenever the back end dies', async () => {
    const tokens = fc.uniqueArray(fc.integer({ min: 1, max: 15 }), {
      minLength: 1,
      maxLength: packed ? 4 : 4,
    });
    const scenario = fc.record({
      before: fc.array(tokens, { maxLength: 4 }),
      last: tokens,
      order: fc.infiniteStream(fc.nat()),
      at: fc.nat({ max: 120 }),
      waits: fc.constantFrom(0, 1),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ before, last, order, at, waits }) => {
        const done: number[] = [];
        const { front, pending, host } = await begun(done);
        const inflight = host.createMemory(4096);
        const describe = { mmap_size: 4096n, mmap_offset: 0n, num_queues: 1, queue_size: size };
        front.stream.request('SET_INFLIGHT_FD', describe, { descriptors: [inflight] });
        const driver: RawDriver = front.driver(setUp);
        front.start(setUp);
        await quiet();
        const finishSome = async (): Promise<void> => {
          for (const [token, finish] of [...pending]) {
            if ((order.next().value ?? 0) % 3 === 0) continue;
            pending.delete(token);
            finish();
            await Promise.resolve();
          }
          await quiet();
        };
        const outstanding = new Set<number>();
        const poll = (): void => {
          for (const { token, answer } of driver.answered()) {
            expect(answer).toBe(token + 1);
            expect(outstanding.delete(token)).toBe(true);
          }
        };
        const offer = (list: readonly number[]): void => {
          const fresh = list.filter((token) => !outstanding.has(token)).slice(0, 4 - outstanding.size);
          for (const token of fresh) outstanding.add(token);
          driver.offer(fresh);
        };
        for (const list of before) {
          offer(list);
          await quiet();
          await finishSome();
          poll();
        }
        const guest = bytesOf(host, front.lent, 2 ** 20);
        const kept = bytesOf(host, inflight, 4096);
        const memory = [guest.bytes, kept.bytes];
        offer(last);
        const atDeath = await killedAt(at, memory, async () => {
          await quiet();
          await finishSome();
        });
        front.stream.close();
        await quiet();
        for (const [i, bytes] of atDeath.entries()) memory[i]?.set(bytes);
        poll();
        const acknowledged = new Set([...Array(16).keys()].filter((token) => !outstanding.has(token)));
        const doneLater: number[] = [];
        const second = await begun(doneLater, host, waits);
        // The front end is the same one, with another connection.
        const next = second.front;
        next.stream.request(
          'SET_MEM_TABLE',
          {
            nregions: 1,
            regions: [
              {
                guest_phys_addr: 0n,
                memory_size: 2n ** 20n,
                userspace_addr: 0x7fff_0000_0000n,
                mmap_offset: 0n,
              },
            ],
          },
          { descriptors: [front.lent] },
        );
        next.stream.request('SET_INFLIGHT_FD', describe, { descriptors: [inflight] });
        next.start(setUp);
        for (let i = 0; i < 12 && outstanding.size > 0; i++) {
          await quiet();
          poll();
          for (const [token, finish] of [...second.pending]) {
            second.pending.delete(token);
            finish();
            await quiet();
            poll();
          }
        }
        expect(next.over).toBeUndefined();
        expect([...outstanding]).toEqual([]);
        expect(doneLater.filter((token) => acknowledged.has(token))).toEqual([]);
        expect(new Set(doneLater).size).toBe(doneLater.length);
        // And the queue goes on.
        offer([2, 3]);
        host.signal(next.kick);
        await quiet();
        for (const finish of second.pending.values()) finish();
        await quiet();
        poll();
        expect([...outstanding]).toEqual([]);
        for (const mapping of [guest, kept]) mapping.close();
        inflight.close();
        front.close();
        next.close();
        await quiet();
        expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
      }),
      { numRuns: 200 },
    );
  });

  it('ends the connection where the memory holds what cannot be', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 300, maxLength: 300 }), async (rubbish) => {
        const { front, host } = await begun([]);
        const inflight = host.createMemory(4096);
        const { bytes, close } = bytesOf(host, inflight, 4096);
        bytes.set(rubbish);
        const version = packed ? [0, 1] : [1, 0];
        bytes.set(version, 8);
        front.driver(setUp);
        const value = { mmap_size: 4096n, mmap_offset: 0n, num_queues: 1, queue_size: size };
        front.stream.request('SET_INFLIGHT_FD', value, { descriptors: [inflight] });
        front.start(setUp);
        host.signal(front.kick);
        await quiet();
        close();
        inflight.close();
        front.close();
        await quiet();
        expect([host.open, host.mapped, host.watched]).toEqual([0, 0, 0]);
      }),
      { numRuns: 100 },
    );
  });
});
