import { describe, expect, it } from 'vitest';
import { netTimer } from './timer.ts';

describe('time for network devices', () => {
  it.each([0, 50, 1000, 2500])('passes: %i microseconds', async (microseconds) => {
    let within = true;
    const due = new Promise<boolean>((resolve) => {
      netTimer(microseconds, () => resolve(within));
    });
    within = false;
    expect(await due).toBe(false);
  });

  it('can be taken back, also when it has passed', async () => {
    const called: number[] = [];
    const stops = [10, 1500].map((microseconds) => netTimer(microseconds, () => called.push(microseconds)));
    for (const stop of stops) stop();
    await new Promise<void>((resolve) => {
      const stop = netTimer(3000, () => {
        stop();
        resolve();
      });
    });
    expect(called).toEqual([]);
  });
});
