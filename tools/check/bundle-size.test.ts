import { expect, it } from 'vitest';
import { checkBundleSize } from './bundle-size.ts';

it('tells of a bundle that is too large', async () => {
  expect(await checkBundleSize(1000)).toEqual([
    { file: 'benchmarks/size/bundles.ts', message: expect.stringContaining('over 1000') },
  ]);
  expect(await checkBundleSize(1e6)).toEqual([]);
});
