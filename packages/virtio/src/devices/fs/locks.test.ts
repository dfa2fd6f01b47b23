import { describe, expect, it } from 'vitest';
import type { FileLock, Interruption } from './file-tree.ts';
import { LockTable } from './locks.ts';

const file = {};
const owners = [{}, {}, {}] as const;
type Index = 0 | 1 | 2;

const range = (owner: Index, type: FileLock['type'], start: number, end: number): FileLock => ({
  ...{ type, start, end, owner: owners[owner], pid: owner, whole: false },
});
const whole = (owner: Index, type: FileLock['type']): FileLock => ({
  ...range(owner, type, 0, Number.POSITIVE_INFINITY),
  whole: true,
});
const patient = (): Interruption => ({ interrupted: false, onInterrupt: undefined });

describe('locks', () => {
  it('of ranges agree with a model that keeps every byte', () => {
    const table = new LockTable();
    const model = Array.from({ length: 24 }, () => new Map<object, 'read' | 'write'>());
    let seed = 3;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    for (let round = 0; round < 4000; round++) {
      const owner = random(3) as Index; // Below 3.
      const start = random(24);
      const end = start + random(24 - start);
      const type = (['read', 'write', 'unlock'] as const)[random(3)] ?? 'read';
      const bytes = model.slice(start, end + 1);
      const isFree = bytes.every((holders) =>
        [...holders].every(
          ([other, held]) => other === owners[owner] || (type === 'read' && held === 'read'),
        ),
      );
      const lock = range(owner, type, start, end);
      if (type === 'unlock' || isFree) {
        void table.set(file, lock, undefined);
        for (const holders of bytes) {
          if (type === 'unlock') holders.delete(owners[owner]);
          else holders.set(owners[owner], type);
        }
      } else {
        expect(() => table.set(file, lock, undefined)).toThrow('EAGAIN');
        const found = table.find(file, lock);
        expect(found !== undefined && found.start <= end && found.end >= start).toBe(true);
      }
    }
    for (const owner of [0, 1, 2] as const) void table.set(file, range(owner, 'unlock', 0, 1e9), undefined);
    expect(table.size).toBe(0);
  });

  it('are waited for in turn, and given up', async () => {
    const table = new LockTable();
    void table.set(file, range(0, 'write', 0, 9), undefined);
    const order: number[] = [];
    const wait = patient();
    const first = Promise.resolve(table.set(file, range(1, 'write', 5, 5), wait));
    const second = Promise.resolve(table.set(file, range(2, 'write', 5, 7), patient()));
    void second.then(() => order.push(2));
    wait.onInterrupt?.();
    await expect(first).rejects.toMatchObject({ code: 'EINTR' });
    void table.set(file, range(0, 'unlock', 0, 4), undefined);
    expect(table.find(file, range(1, 'read', 6, 6))?.owner).toBe(owners[0]);
    void table.set(file, range(0, 'unlock', 5, 9), undefined);
    await second;
    expect([order, table.size]).toEqual([[2], 1]);
  });

  it('of two that wait for one another are refused', async () => {
    const table = new LockTable();
    void table.set(file, range(0, 'write', 0, 0), undefined);
    void table.set(file, range(1, 'write', 1, 1), undefined);
    const waits = Promise.resolve(table.set(file, range(0, 'write', 1, 1), patient()));
    expect(() => table.set(file, range(1, 'write', 0, 0), patient())).toThrow('EDEADLK');
    void table.set(file, range(1, 'unlock', 0, 9), undefined);
    await waits;
  });

  it('of whole files know nothing of ranges', () => {
    const table = new LockTable();
    void table.set(file, range(0, 'write', 0, 9), undefined);
    void table.set(file, whole(1, 'write'), undefined);
    expect(() => table.set(file, whole(0, 'read'), undefined)).toThrow('EAGAIN');
    void table.set(file, whole(1, 'read'), undefined);
    void table.set(file, whole(0, 'read'), undefined);
    expect(table.size).toBe(3);
  });

  it('are as many as there may be', () => {
    const table = new LockTable(3);
    for (const at of [0, 2, 4]) void table.set(file, range(0, 'read', at, at), undefined);
    expect(() => table.set(file, range(0, 'read', 6, 6), undefined)).toThrow('ENOLCK');
    expect(() => table.set(file, range(1, 'read', 0, 0), undefined)).toThrow('ENOLCK');
    // One that joins two needs no room.
    void table.set(file, range(0, 'read', 1, 1), undefined);
    expect(table.size).toBe(2);
  });
});
