import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestPage } from './browser-page.ts';

let page: TestPage;

beforeAll(async () => {
  page = await TestPage.start('browser-disk.page.ts');
});

afterAll(() => page?.close());

test('holds what was written, whatever the cache has room for', async () => {
  // 64 chunks of 4 KiB, of which 4 fit the cache; every step is checked against a copy in memory.
  expect(await page.run('randomOperations', { seed: 7, steps: 2000 })).toBe('as in memory');
});

test('keeps after a reload what was flushed, and takes no room for zeroes', async () => {
  expect(await page.run('writeAndFlush')).toBe(3);
  await page.reload();
  expect(await page.run('readBack')).toEqual([1, 0, 2]);
});

test('is for one page at a time, of one size, and can be deleted', async () => {
  expect(await page.run('hold')).toBe('held');
  const second = await page.another();
  expect(await page.run('hold', null, second)).toBe('IN_USE');
  expect(await page.run('remove', null, second)).toBe('IN_USE');
  expect(await page.run('letGo')).toBe('let go');
  expect(await page.run('openWithOtherSize', null, second)).toBe('BAD_ARGUMENT');
  expect(await page.run('remove', null, second)).toBe('removed');
  expect(await page.run('readBack')).toEqual([0, 0, 0]);
  await second.close();
});

test('refuses sizes that are not whole sectors', async () => {
  expect(await page.run('badSizes')).toEqual(['BAD_ARGUMENT', 'BAD_ARGUMENT', 'BAD_ARGUMENT']);
});
