import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';

const script = `
  import { getHeapSpaceStatistics } from 'node:v8';
  import { keepHeapSmall } from ${JSON.stringify(new URL('./small-heap.ts', import.meta.url).href)};
  keepHeapSmall();
  let kept = [];
  for (let round = 0; round < 40; round++) {
    kept = [];
    for (let count = 0; count < 20_000; count++) kept.push({ count, of: [round] });
  }
  console.log(getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').space_size);
`;

it('keeps the young generation small on this version of Node, which knows the flags', () => {
  const args = ['--import', 'tsx', '--input-type=module', '-e', script];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(Number(stdout)).toBeGreaterThan(0);
  // Left alone it has 16 MB and more.
  expect(Number(stdout)).toBeLessThanOrEqual(4 * 2 ** 20);
});
