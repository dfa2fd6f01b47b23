import { expect, it } from 'vitest';
import { Latencies } from './latencies.ts';

it('tells percentiles to a few percent, and the ends exactly', () => {
  const latencies = new Latencies();
  for (let i = 1; i <= 10_000; i++) latencies.add(i * 100);
  expect(latencies.count).toBe(10_000);
  for (const percent of [1, 50, 90, 99, 99.9]) {
    const exact = percent * 10_000;
    expect(Math.abs(latencies.percentile(percent) / exact - 1)).toBeLessThan(0.04);
  }
  expect(latencies.summary()).toMatchObject({ min: 0.1, max: 1000, mean: 500.05 });
});

it('joins with another', () => {
  const [low, high] = [new Latencies(), new Latencies()];
  low.add(0);
  high.add(2 ** 50);
  low.addAll(high);
  expect([low.count, low.percentile(100)]).toEqual([2, 2 ** 50]);
  expect(new Latencies().summary()).toEqual({ min: 0, mean: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0 });
});
