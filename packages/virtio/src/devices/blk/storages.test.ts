import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memoryStorage, type OverlayChange, overlayStorage, sparseStorage } from './device.ts';
import { Flusher } from './flusher.ts';
import { pattern, sameBytes, slowStorage } from './raw-disk.fixture.ts';
import type { Storage } from './storage.ts';

const size = 20 * 512;

async function contents(storage: Storage): Promise<Uint8Array> {
  const bytes = new Uint8Array(storage.size);
  await storage.read(0, bytes);
  return bytes;
}

describe('memoryStorage', () => {
  it('uses bytes in place, or makes its own', () => {
    const bytes = pattern(1024);
    const storage = memoryStorage(bytes);
    storage.write(512, new Uint8Array(512).fill(9));
    expect(bytes[512]).toBe(9);
    expect(storage.bytes).toBe(bytes);
    expect(memoryStorage(1024).bytes).toEqual(new Uint8Array(1024));
  });

  it('is whole sectors, also after a resize', () => {
    for (const wrong of [0, 511, -512, 1.5, Number.NaN]) {
      expect(() => memoryStorage(wrong)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
      expect(() => memoryStorage(512).resize(wrong)).toThrow(
        expect.objectContaining({ code: 'BAD_ARGUMENT' }),
      );
    }
    const storage = memoryStorage(pattern(1024).slice());
    storage.resize(1536);
    expect(storage.bytes).toEqual(new Uint8Array([...pattern(1024), ...new Uint8Array(512)]));
    storage.resize(512);
    expect(storage.size).toBe(512);
  });
});

describe('overlayStorage', () => {
  const operation = fc.record({
    kind: fc.constantFrom('write', 'zero', 'discard'),
    at: fc.integer({ min: 0, max: 19 }),
    count: fc.integer({ min: 1, max: 20 }),
    seed: fc.integer({ min: 0, max: 255 }),
  });

  it.each([
    ['in memory', (bytes: Uint8Array) => memoryStorage(bytes)],
    ['slow', (bytes: Uint8Array) => slowStorage(memoryStorage(bytes), true)],
  ])('over a base that is %s holds any changes, and the base none of them', async (_name, baseOf) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(operation),
        fc.constantFrom(512, 1536, 4096, 65536),
        async (list, chunkSize) => {
          const original = pattern(size);
          const bytes = original.slice();
          const overlay = overlayStorage(baseOf(bytes), { chunkSize });
          const model = original.slice();
          // All at once: an overlay keeps them apart even while its base takes its time.
          await Promise.all(
            disjoint(list).map(({ kind, at, count, seed }) => {
              const [offset, length] = [at * 512, count * 512];
              const data = pattern(length, seed);
              model.set(kind === 'write' ? data : new Uint8Array(length), offset);
              if (kind === 'write') return overlay.write(offset, data);
              return kind === 'zero'
                ? overlay.writeZeroes?.(offset, length, true)
                : overlay.discard?.(offset, length);
            }),
          );
          expect(sameBytes(await contents(overlay), model)).toBe(true);
          expect(sameBytes(bytes, original)).toBe(true);
          const again = overlayStorage(memoryStorage(bytes), { chunkSize, changes: overlay.changes() });
          expect(sameBytes(await contents(again), model)).toBe(true);
        },
      ),
    );
  });

  it('gives copies of its chunks, and takes no room for zeroes', async () => {
    const overlay = overlayStorage(memoryStorage(pattern(size)), { chunkSize: 4096 });
    await overlay.write(512, new Uint8Array(512).fill(1));
    await overlay.writeZeroes?.(4096, 4096, true);
    const changes = overlay.changes();
    expect(changes.map(({ offset, bytes }) => [offset, bytes?.length ?? null])).toEqual([
      [0, 4096],
      [4096, null],
    ]);
    changes[0]?.bytes?.fill(7);
    const read = new Uint8Array(512);
    await overlay.read(512, read);
    expect(read).toEqual(new Uint8Array(512).fill(1));
  });

  it('stores at each flush what changed since the last that succeeded', async () => {
    const stored: (readonly OverlayChange[])[] = [];
    let full = false;
    const overlay = sparseStorage(size, {
      chunkSize: 1024,
      async store(changes) {
        await Promise.resolve();
        if (full) throw new Error('the browser has no more room');
        stored.push(changes);
      },
    });
    await overlay.flush();
    expect(stored).toEqual([]);
    await overlay.write(0, new Uint8Array(512).fill(1));
    await overlay.write(2048, new Uint8Array(512).fill(2));
    const flushing = overlay.flush();
    await overlay.write(0, new Uint8Array(512).fill(9));
    await flushing;
    expect(stored[0]?.map(({ offset, bytes }) => [offset, bytes?.[0]])).toEqual([
      [0, 1],
      [2048, 2],
    ]);
    full = true;
    await expect(overlay.flush()).rejects.toThrow('no more room');
    full = false;
    await overlay.flush();
    expect(stored[1]?.map(({ offset, bytes }) => [offset, bytes?.[0]])).toEqual([[0, 9]]);
    await overlay.flush();
    expect(stored).toHaveLength(2);
  });

  it('refuses chunks and changes that do not fit', () => {
    const base = memoryStorage(size);
    const zero = (length: number): Uint8Array => new Uint8Array(length);
    for (const options of [
      { chunkSize: 1000 },
      { chunkSize: 0 },
      { changes: [{ offset: 100, bytes: null }] },
      { changes: [{ offset: 65536, bytes: null }] },
      { chunkSize: 4096, changes: [{ offset: 0, bytes: zero(512) }] },
      { chunkSize: 4096, changes: [{ offset: 8192, bytes: zero(4096) }] },
    ]) {
      expect(() => overlayStorage(base, options)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    }
    expect(() => sparseStorage(100)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });

  it('is flushed only when what an earlier flush has under way is stored, or stored again where that failed', async () => {
    const ends: ((error?: Error) => void)[] = [];
    const kept: number[][] = [];
    const overlay = overlayStorage(memoryStorage(4096), {
      chunkSize: 512,
      store: (changes) => {
        kept.push(changes.map(({ bytes }) => bytes?.[0] ?? 0));
        return new Promise((resolve, reject) =>
          ends.push((error) => (error === undefined ? resolve() : reject(error))),
        );
      },
    });
    const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    const done: string[] = [];
    const flush = (name: string): void => {
      Promise.resolve(overlay.flush()).then(
        () => void done.push(name),
        () => void done.push(`${name} failed`),
      );
    };
    await overlay.write(0, new Uint8Array(512).fill(1));
    flush('first');
    flush('second');
    await settle();
    expect([done, kept]).toEqual([[], [[1]]]);
    await overlay.write(0, new Uint8Array(512).fill(2));
    flush('third');
    ends[0]?.(new Error('bad'));
    await settle();
    expect([done, kept]).toEqual([['first failed'], [[1], [2]]]);
    ends[1]?.();
    await settle();
    expect(done).toEqual(['first failed', 'second', 'third']);
    expect(overlay.flush()).toBeUndefined();
  });

  it('lies over a disk of any size without taking it', async () => {
    const overlay = sparseStorage(2 ** 40);
    await overlay.write(2 ** 39, new Uint8Array(512).fill(3));
    const read = new Uint8Array(1024);
    await overlay.read(2 ** 39 - 512, read);
    expect([read[0], read[512]]).toEqual([0, 3]);
    expect(overlay.changes()).toHaveLength(1);
  });
});

describe('Flusher', () => {
  it('begins a flush after every write that it is about, and lets many share it', async () => {
    const slow = slowStorage(memoryStorage(512));
    const flusher = new Flusher(slow);
    const first = flusher.flush();
    const shared = [flusher.flush(), flusher.flush()];
    expect(slow.log).toEqual(['flush']);
    await slow.step();
    await first;
    expect(slow.log).toEqual(['flush', 'flush']);
    await slow.step();
    await Promise.all(shared);
    expect(slow.log).toEqual(['flush', 'flush']);
  });

  it('tells those whose flush failed, and no others', async () => {
    const slow = slowStorage(memoryStorage(512));
    const flusher = new Flusher(slow);
    const failing = expect(flusher.flush()).rejects.toThrow('bad');
    const next = flusher.flush();
    await slow.step(new Error('bad'));
    await failing;
    await slow.step();
    await expect(next).resolves.toBeUndefined();
  });
});

/** Ranges within the disk that do not touch one another: what may be under way at once. */
function disjoint<R extends { at: number; count: number }>(list: readonly R[]): R[] {
  const taken = new Set<number>();
  return list
    .map((range) => ({ ...range, count: Math.min(range.count, 20 - range.at) }))
    .filter(({ at, count }) => {
      const own = Array.from({ length: count }, (_, i) => at + i);
      if (own.some((sector) => taken.has(sector))) return false;
      for (const sector of own) taken.add(sector);
      return true;
    });
}
