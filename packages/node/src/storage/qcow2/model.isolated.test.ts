import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { HostError } from 'virtio/errors';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { pattern } from '../pattern.fixture.ts';
import { RawFile } from '../raw-file.ts';
import { checkImage } from './check.fixture.ts';
import { createQcow2 } from './create.ts';
import { openQcow2, type Qcow2Storage } from './open.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtio-qcow2-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const sector = 512;
const sectors = 300;
const size = sectors * sector;

/** What is done to a disk; places and lengths in sectors. */
type Step =
  | {
      readonly what: 'write' | 'zero' | 'unmap' | 'discard';
      readonly at: number;
      readonly count: number;
      readonly value: number;
    }
  // `begin` starts a flush and does not wait; `pause` lets what was started go on.
  | { readonly what: 'flush' | 'reopen' | 'begin' | 'pause' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      what: fc.constantFrom('write', 'write', 'write', 'zero', 'unmap', 'discard'),
      at: fc.nat(sectors - 1),
      count: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 120 })),
      value: fc.integer({ min: 1, max: 255 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ what: fc.constantFrom('flush', 'reopen', 'begin', 'pause', 'pause') }),
  },
);

const isSame = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;

function readAll(storage: Qcow2Storage): Uint8Array {
  const bytes = new Uint8Array(size);
  storage.read(0, bytes);
  return bytes;
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));

/** Does a step to a disk and to its model. */
function apply(storage: Qcow2Storage, one: Step, model: Uint8Array): void {
  if (!('at' in one)) return;
  const offset = one.at * sector;
  const length = Math.min(one.count, sectors - one.at) * sector;
  if (one.what === 'write') {
    const bytes = pattern(length, one.value);
    storage.write(offset, bytes);
    model.set(bytes, offset);
  } else if (one.what === 'discard') {
    storage.discard?.(offset, length);
    // Anything may be there: what is, is what the model goes on with.
    storage.read(offset, model.subarray(offset, offset + length));
  } else {
    storage.writeZeroes?.(offset, length, one.what === 'unmap');
    model.fill(0, offset, offset + length);
  }
}

const base = pattern(200 * sector + 77);

async function make(path: string, clusterSize: number, backed: boolean): Promise<Uint8Array> {
  const model = new Uint8Array(size);
  if (backed) {
    writeFileSync(join(folder, 'base.img'), base);
    model.set(base);
  }
  const backing = { path: 'base.img', format: 'raw' } as const;
  rmSync(path, { force: true });
  await createQcow2(path, { size, clusterSize, ...(backed ? { backing } : {}) });
  return model;
}

describe.each([
  [512, false],
  [512, true],
  [4096, true],
  [65_536, true],
])('any sequence of steps, with clusters of %i bytes, on a backing file: %s', (clusterSize, backed) => {
  it('does what it would do to a plain array, and leaves every count right', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const path = join(folder, 'disk.qcow2');
        const model = await make(path, clusterSize, backed);
        let storage = await openQcow2(path);
        const begun: Promise<void>[] = [];
        for (const one of steps) {
          apply(storage, one, model);
          if (one.what === 'flush') await storage.flush();
          if (one.what === 'begin') begun.push(storage.flush());
          if (one.what === 'pause') await pause();
          if (one.what === 'reopen') {
            await storage.close();
            expect(checkImage(readFileSync(path))).toEqual({ leaked: 0, lost: 0 });
            storage = await openQcow2(path);
          }
          expect(isSame(readAll(storage), model)).toBe(true);
        }
        await storage.close();
        await Promise.all(begun);
        expect(checkImage(readFileSync(path))).toEqual({ leaked: 0, lost: 0 });
        const again = await openQcow2(path, { readOnly: true });
        expect(isSame(readAll(again), model)).toBe(true);
        await again.close();
        if (backed) expect(isSame(readFileSync(join(folder, 'base.img')), base)).toBe(true);
      }),
      { numRuns: 25 },
    );
  }, 60_000);
});

describe('when the file system fails now and then', () => {
  it('has what was written, and no cluster in use that is counted as free', async () => {
    const failures = fc.record({
      read: fc.uniqueArray(fc.nat(30), { maxLength: 4 }),
      write: fc.uniqueArray(fc.nat(60), { maxLength: 4 }),
      punch: fc.uniqueArray(fc.nat(12), { maxLength: 4 }),
      truncate: fc.uniqueArray(fc.nat(3), { maxLength: 1 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 4, maxLength: 40 }),
        fc.constantFrom(512, 4096),
        fc.boolean(),
        fc.boolean(),
        failures,
        async (steps, clusterSize, backed, filled, fails) => {
          vi.restoreAllMocks();
          const path = join(folder, 'disk.qcow2');
          const model = await make(path, clusterSize, backed);
          if (filled) {
            const before = await openQcow2(path);
            apply(before, { what: 'write', at: 0, count: sectors, value: 1 }, model);
            await before.close();
          }
          // Nothing of its tables is in memory.
          const storage = await openQcow2(path);
          for (const name of ['read', 'write', 'punch', 'truncate'] as const) {
            const work: (...args: never[]) => unknown = RawFile.prototype[name];
            let calls = 0;
            vi.spyOn(RawFile.prototype, name).mockImplementation(function (
              this: RawFile,
              ...args: unknown[]
            ) {
              if (fails[name].includes(calls++)) throw new HostError('IO_ERROR', `${name} fails`);
              return Reflect.apply(work, this, args);
            });
          }
          const failed = (error: unknown): void => expect(error).toMatchObject({ code: 'IO_ERROR' });
          const begun: Promise<void>[] = [];
          // Of a request that failed a part may be there.
          const unknown = new Set<number>();
          for (const one of steps) {
            if ('at' in one) {
              const all = Array.from({ length: one.count }, (_, i) => one.at + i);
              try {
                apply(storage, one, model);
                if (one.what !== 'discard') for (const at of all) unknown.delete(at);
              } catch (error) {
                failed(error);
                for (const at of all) unknown.add(at);
              }
            } else if (one.what === 'begin') begun.push(storage.flush().catch(failed));
            else if (one.what === 'pause') await pause();
            else await storage.flush().catch(failed);
          }
          await Promise.all(begun);
          vi.restoreAllMocks();
          await storage.close();
          expect(checkImage(readFileSync(path))).toEqual({ leaked: 0, lost: 0 });
          const again = await openQcow2(path, { readOnly: true });
          const bytes = readAll(again);
          await again.close();
          for (let at = 0; at < sectors; at++) {
            const [from, to] = [at * sector, (at + 1) * sector];
            if (!unknown.has(at))
              expect(isSame(bytes.subarray(from, to), model.subarray(from, to))).toBe(true);
          }
        },
      ),
      { numRuns: 60 },
    );
  }, 60_000);
});

it('ends references once, though the count of one of them cannot be read', async () => {
  const path = join(folder, 'disk.qcow2');
  const model = await make(path, 512, false);
  const filling = { what: 'write', at: 0, count: sectors, value: 1 } as const;
  const first = await openQcow2(path);
  apply(first, filling, model);
  await first.close();
  const storage = await openQcow2(path);
  // The counts of the last clusters are in memory by then, those of the others are not.
  for (const at of [sectors - 20, 0]) storage.discard?.(at * sector, 20 * sector);
  vi.spyOn(RawFile.prototype, 'read').mockImplementation(() => {
    throw new HostError('IO_ERROR', 'it cannot be read');
  });
  await expect(storage.flush()).rejects.toMatchObject({ code: 'IO_ERROR' });
  vi.restoreAllMocks();
  apply(storage, filling, model);
  await storage.close();
  expect(checkImage(readFileSync(path))).toEqual({ leaked: 0, lost: 0 });
});

/** What reached the file, in order. */
type Event =
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly to: number }
  // All events below `to` are stable.
  | { readonly kind: 'sync'; readonly to: number }
  | { readonly kind: 'punch'; readonly offset: number; readonly length: number };

function record(path: string): Event[] {
  const events: Event[] = [];
  const { write, truncate, flush, punch } = RawFile.prototype;
  vi.spyOn(RawFile.prototype, 'write').mockImplementation(function (this: RawFile, offset, source) {
    write.call(this, offset, source);
    if (this.path === path) events.push({ kind: 'write', offset, bytes: source.slice() });
  });
  vi.spyOn(RawFile.prototype, 'truncate').mockImplementation(function (this: RawFile, to) {
    truncate.call(this, to);
    if (this.path === path) events.push({ kind: 'truncate', to });
  });
  vi.spyOn(RawFile.prototype, 'punch').mockImplementation(function (this: RawFile, offset, length) {
    if (this.path === path) events.push({ kind: 'punch', offset, length });
    return punch.call(this, offset, length);
  });
  vi.spyOn(RawFile.prototype, 'flush').mockImplementation(async function (this: RawFile) {
    const to = events.length;
    await flush.call(this);
    if (this.path === path) events.push({ kind: 'sync', to });
  });
  return events;
}

/** The file when the power fails: what is stable is there, and of what came after whatever chance will have. */
function afterFailure(before: Uint8Array, events: readonly Event[], chance: () => boolean): Uint8Array {
  const stable = Math.max(0, ...events.map((event) => (event.kind === 'sync' ? event.to : 0)));
  const bytes = new Uint8Array(2 ** 21);
  bytes.set(before);
  let length = before.length;
  for (const [index, event] of events.entries()) {
    if (index >= stable && !chance()) continue;
    if (event.kind === 'write') {
      bytes.set(event.bytes, event.offset);
      length = Math.max(length, event.offset + event.bytes.length);
    } else if (event.kind === 'punch') bytes.fill(0, event.offset, event.offset + event.length);
    else if (event.kind === 'truncate') length = Math.max(length, event.to);
  }
  return bytes.slice(0, length);
}

describe('when the power fails, in whatever order the disk had written', () => {
  it('has what was flushed, and no cluster in use that is counted as free', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 4, maxLength: 30 }),
        fc.boolean(),
        fc.infiniteStream(fc.boolean()),
        fc.nat(1000),
        async (steps, backed, chances, moment) => {
          const path = join(folder, 'disk.qcow2');
          const model = await make(path, 512, backed);
          const before = readFileSync(path);
          const events = record(path);
          const storage = await openQcow2(path);
          // Which sectors may hold what: all that was there since the last flush.
          let may = Array.from({ length: sectors }, () => new Set<string>());
          const digest = (at: number): string =>
            Buffer.from(model.buffer, at * sector, sector).toString('latin1');
          const allow = (): void => may.forEach((set, at) => void set.add(digest(at)));
          allow();
          const states: { readonly events: number; readonly may: Set<string>[] }[] = [];
          const begun: Promise<void>[] = [];
          for (const one of steps) {
            apply(storage, one, model);
            allow();
            if (one.what === 'begin') begun.push(storage.flush());
            if (one.what === 'pause') await pause();
            if (one.what === 'flush' || one.what === 'reopen') {
              // In the midst of a flush, either counts.
              const during = may.map((set) => new Set(set));
              const from = events.length;
              await storage.flush();
              for (let at = from; at < events.length; at++) states.push({ events: at, may: during });
              may = Array.from({ length: sectors }, () => new Set<string>());
              allow();
            }
            states.push({ events: events.length, may: may.map((set) => new Set(set)) });
          }
          const state = states[moment % states.length]!;
          const chance = chances[Symbol.iterator]();
          const failed = afterFailure(
            before,
            events.slice(0, state.events),
            () => chance.next().value === true,
          );
          await Promise.all(begun);
          await storage.close();
          vi.restoreAllMocks();

          writeFileSync(path, failed);
          expect(checkImage(failed).lost).toBe(0);
          const again = await openQcow2(path);
          const bytes = readAll(again);
          for (let at = 0; at < sectors; at++) {
            const found = Buffer.from(bytes.buffer, at * sector, sector).toString('latin1');
            expect(state.may[at]?.has(found), `sector ${at}`).toBe(true);
          }
          // It goes on from there.
          again.write(0, new Uint8Array(size).fill(1));
          await again.close();
          expect(checkImage(readFileSync(path)).lost).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  }, 60_000);
});
