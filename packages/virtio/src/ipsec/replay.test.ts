import { describe, expect, it } from 'vitest';
import { ReplayWindow } from './replay.ts';

describe('a window of sequence numbers', () => {
  it('takes each once, and none that is too old', () => {
    const window = new ReplayWindow(4, false);
    const came = (number: number): boolean => {
      const accepted = window.accepts(number);
      if (accepted) window.came(number);
      return accepted;
    };
    expect([0, 1, 1, 3, 2, 2, 4].map(came)).toEqual([false, true, false, true, true, false, true]);
    expect([100, 96, 97, 98, 100, 99, 97].map(came)).toEqual([true, false, true, true, false, true, false]);
    expect(window.numbers()).toEqual([97, 98, 99, 100]);
    const other = new ReplayWindow(4, false);
    other.restore(103, [102, 101]);
    expect([99, 100, 101, 102, 103].map((number) => other.accepts(number))).toEqual([
      false,
      true,
      false,
      false,
      true,
    ]);
    expect(other.highest).toBe(103);
  });

  it('of no size takes all', () => {
    const window = new ReplayWindow(0, false);
    window.came(7);
    expect(window.accepts(7)).toBe(true);
    expect(window.accepts(1)).toBe(true);
    expect(window.numbers()).toEqual([]);
  });

  it('finds the upper half of numbers of 64 bits', () => {
    const half = 0x1_0000_0000;
    const window = new ReplayWindow(64, true);
    expect([window.whole(1), window.whole(0xffff_ffff)]).toEqual([1, 0xffff_ffff - half]);
    expect(window.accepts(window.whole(0xffff_ffff))).toBe(false);
    window.came(0xffff_fff0);
    expect([window.whole(0xffff_ffff), window.whole(0xffff_ffc0), window.whole(2)]).toEqual([
      0xffff_ffff,
      0xffff_ffc0,
      half + 2,
    ]);
    window.came(half + 2);
    expect([window.whole(3), window.whole(0xffff_ffff), window.whole(0xffff_0000)]).toEqual([
      half + 3,
      0xffff_ffff,
      half + 0xffff_0000,
    ]);
    window.came(3 * half + 1000);
    expect([window.whole(990), window.whole(900)]).toEqual([3 * half + 990, 4 * half + 900]);
  });
});
