import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestPage } from './browser-page.ts';

let page: TestPage;

beforeAll(async () => {
  page = await TestPage.start('browser-files.page.ts');
});

afterAll(() => page?.close());

test.each(['named', 'folder'])('a %s tree does what one in memory does', async (kind) => {
  expect(await page.run('randomOperations', { seed: 11, steps: 300, kind })).toBe('as in memory');
});

test('what was synced is there when the page has crashed, with all that a file can have', async () => {
  expect(await page.run('makeAndSync')).toBe('synced');
  const second = await page.another();
  await page.page.goto('chrome://crash').catch(() => {});
  expect(await page.run('describe', null, second)).toMatchInlineSnapshot(`
    [
      "".virtio-name-x" 100644 0:0 14 14 bytes, 178668033",
      "".virtio-record" 100644 0:0 14 14 bytes, 296592540",
      ""a:b*?\\"<>|\\\\" 100644 0:0 10 10 bytes, 420182253",
      ""dot." 100644 0:0 4 4 bytes, 9554060",
      ""folder" 41777 0:0 4096 0",
      ""folder/device" 20600 0:0 0 259",
      ""folder/link" 120777 0:0 10 ../nowhere",
      ""folder/pipe" 10640 0:0 0 0",
      ""moved" 104750 12:34 200000 200000 bytes, 3708463372",
      ""n\\udcff\\udcfe\\n" 100644 0:0 8 8 bytes, 1683366915",
      ""x.crswap" 100644 0:0 8 8 bytes, 4030137791",
      ""xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" 100644 0:0 255 255 bytes, 2353902225",
      ""ünïcödé 😀" 100644 0:0 16 16 bytes, 341905065",
    ]
  `);
  page.take(second);
  expect(await page.run('stored')).toMatchInlineSnapshot(`
    [
      ".virtio-name-%2evirtio-name-x",
      ".virtio-name-%2evirtio-record",
      ".virtio-name-a%3ab%2a%3f%22%3c%3e%7c%5c",
      ".virtio-name-dot%2e",
      ".virtio-name-n%ff%fe%0a",
      ".virtio-name-x%2ecrswap",
      ".virtio-record",
      "folder",
      "moved",
      "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
      "ünïcödé 😀",
    ]
  `);
});

test('no name leads anywhere else', async () => {
  expect(await page.run('badNames')).toEqual(['BAD_ARGUMENT', 'EINVAL', 'done']);
});

test('a file that is removed while it is open stays until it is closed', async () => {
  const kept = [[1, 2, 3], [1, 2, 3, 4], [9], [5, 5]];
  expect(await page.run('unlinkedWhileOpen')).toEqual([...kept, 2, ['.virtio-record', 'other']]);
});

test('a snapshot finds its files after a reload, and never another one in their place', async () => {
  const states = await page.run('save');
  await page.reload();
  expect(await page.run('restore', states)).toEqual([
    '4096',
    '4096',
    '[1,2,3]',
    'ESTALE',
    'ESTALE',
    'true',
    'undefined',
    'undefined',
  ]);
});

test('is for one page at a time, and can be deleted', async () => {
  expect(await page.run('hold')).toBe('held');
  const second = await page.another();
  expect(await page.run('hold', null, second)).toBe('IN_USE');
  expect(await page.run('remove', null, second)).toBe('IN_USE');
  expect(await page.run('letGo')).toBe('let go');
  expect(await page.run('remove', null, second)).toBe('removed');
  await second.close();
});

test('a guest reads ENOSPC when the browser grants no more', async () => {
  await page.grant(8 * 2 ** 20);
  expect(await page.run('fill', 'folder')).toBe('ENOSPC');
  expect(await page.run('fill', 'named')).toBe('ENOSPC');
});
