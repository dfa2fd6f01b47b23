import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ReservedFeatureName } from '../../spec/features.ts';
import { memoryStorage, overlayStorage } from './device.ts';
import { pattern, rawDisk, sameBytes, segments, slowStorage } from './raw-disk.fixture.ts';
import { requestType as T } from './spec-requests.ts';
import type { Storage } from './storage.ts';

const sectors = 40;

/** Any request, most of them near the disk's end, framed in any way. */
const request = fc.record({
  type: fc.constantFrom(T.IN, T.IN, T.OUT, T.OUT, T.WRITE_ZEROES, T.FLUSH, T.DISCARD, 99),
  sector: fc.integer({ min: 0, max: sectors + 2 }),
  count: fc.integer({ min: 0, max: 9 }),
  odd: fc.constantFrom(0, 0, 0, 0, 1, 100),
  seed: fc.integer({ min: 0, max: 255 }),
  flags: fc.constantFrom(0, 0, 1, 2),
  cuts: fc.array(fc.integer({ min: 1, max: 1200 }), { maxLength: 5 }),
});

const rings: readonly (readonly ReservedFeatureName[])[] = [
  [],
  ['RING_PACKED', 'EVENT_IDX'],
  ['INDIRECT_DESC', 'IN_ORDER'],
  ['RING_PACKED', 'INDIRECT_DESC', 'IN_ORDER'],
];

const storages: readonly [string, (bytes: Uint8Array) => Storage][] = [
  ['memory', (bytes) => memoryStorage(bytes)],
  ['an overlay', (bytes) => overlayStorage(memoryStorage(bytes), { chunkSize: 2048 })],
  ['a slow overlay', (bytes) => overlayStorage(slowStorage(memoryStorage(bytes), true), { chunkSize: 512 })],
];

describe.each(storages)('any sequence of requests to %s', (_name, make) => {
  // @holds 5.2.6.2 device: Device Types / Block Device / Device Operation
  it('does what it would do to a plain array', { timeout: 30_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(request, { maxLength: 25 }),
        fc.constantFrom(...rings),
        async (list, ring) => {
          const start = pattern(sectors * 512, 17);
          const model = start.slice();
          const storage = make(start.slice());
          const disk = await rawDisk({ storage, discard: false }, { reserved: ['VERSION_1', ...ring] });
          for (const step of list) {
            const expected = expectation(model, step);
            const { type, sector, cuts } = step;
            const answer = await disk.request({
              type,
              sector,
              ...expected.send,
              readableCuts: cuts,
              writableCuts: cuts,
            });
            expect([answer.status, answer.written]).toEqual([expected.status, answer.data.length + 1]);
            expect(sameBytes(answer.data, expected.answer)).toBe(true);
          }
          const end = new Uint8Array(storage.size);
          await storage.read(0, end);
          expect(sameBytes(end, model)).toBe(true);
          expect(disk.errors).toEqual([]);
        },
      ),
      { numRuns: 40 },
    );
  });
});

type Step = typeof request extends fc.Arbitrary<infer S> ? S : never;

/** What the request must answer; the model is changed as it says. */
function expectation(
  model: Uint8Array,
  { type, sector, count, odd, seed, flags }: Step,
): { send: { data?: Uint8Array; answer?: number }; status: string; answer: Uint8Array } {
  const length = count * 512 + odd;
  const fits = odd === 0 && sector + count <= sectors;
  const [from, to] = [sector * 512, sector * 512 + length];
  const nothing = new Uint8Array();
  switch (type) {
    case T.IN: {
      const answer = fits ? model.slice(from, to) : new Uint8Array(length);
      return { send: { answer: length }, status: fits ? 'OK' : 'IOERR', answer };
    }
    case T.OUT: {
      const data = pattern(length, seed);
      if (fits) model.set(data, from);
      return { send: { data }, status: fits ? 'OK' : 'IOERR', answer: nothing };
    }
    case T.WRITE_ZEROES: {
      const data = segments([sector, count, flags]);
      if (flags === 2) return { send: { data }, status: 'UNSUPP', answer: nothing };
      const inside = sector + count <= sectors;
      if (inside) model.fill(0, from, from + count * 512);
      return { send: { data }, status: inside ? 'OK' : 'IOERR', answer: nothing };
    }
    case T.FLUSH:
      return { send: {}, status: 'OK', answer: nothing };
    default:
      return { send: { answer: length }, status: 'UNSUPP', answer: new Uint8Array(length) };
  }
}
