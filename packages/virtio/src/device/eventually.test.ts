import { describe, expect, it } from 'vitest';
import { after, eachInTurn, inPieces } from './eventually.ts';

describe('eventually', () => {
  it('goes on in the same turn when nothing has to be waited for', () => {
    const seen: number[] = [];
    expect(after(2, (value) => value + 1)).toBe(3);
    expect(eachInTurn([1, 2], (item) => void seen.push(item))).toBeUndefined();
    expect(inPieces(10, 4, (done, length) => void seen.push(done, length))).toBeUndefined();
    expect(seen).toEqual([1, 2, 0, 4, 4, 4, 8, 2]);
  });

  it('keeps the order when a step in the middle takes its time', async () => {
    const seen: number[] = [];
    const step = async (item: number): Promise<void> => {
      await Promise.resolve();
      seen.push(item);
    };
    await eachInTurn([1, 2, 3, 4], (item) => (item % 2 === 0 ? step(item) : void seen.push(item)));
    expect(seen).toEqual([1, 2, 3, 4]);
    expect(await after(Promise.resolve(1), (value) => value * 5)).toBe(5);
  });
});
