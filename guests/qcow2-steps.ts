/** What a program that is killed does to a disk. Sectors. */
export interface Step {
  readonly at: number;
  readonly count: number;
  /** What every 32 bits become; 0 for what is zeroed. */
  readonly value: number;
  readonly flushed: boolean;
}

export const sectors = 8192;

/** The same for whoever asks: the nth step, from 1. */
export function stepOf(n: number): Step {
  const at = (n * 2663) % sectors;
  const count = Math.min(sectors - at, n % 9 === 0 ? 700 : 1 + (n % 23));
  return { at, count, value: n % 7 === 0 ? 0 : n, flushed: n % 11 === 0 };
}
