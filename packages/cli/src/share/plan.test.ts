import { basename } from 'node:path';
import { expect, it } from 'vitest';
import { exitStatus } from '../exit-status.ts';
import { parseShares } from './plan.ts';

it('reads which folders are shared, and as what', () => {
  for (const [text, folder, tag, readOnly] of [
    ['/srv/data', '/srv/data', 'data', false],
    ['/srv/data,ro', '/srv/data', 'data', true],
    ['/srv/data:d,ro', '/srv/data', 'd', true],
    ['/srv/a b:x.y_z-1', '/srv/a b', 'x.y_z-1', false],
    ['/srv/a:b/c', '/srv/a:b/c', 'c', false],
    ['.', '.', basename(process.cwd()), false],
    ['/', '/', 'root', false],
  ] as const) {
    expect(parseShares([text])).toEqual([{ folder, tag, readOnly, byDefault: false }]);
  }
  expect(parseShares(['none'])).toEqual([]);
  expect(parseShares([])).toEqual([{ folder: process.cwd(), tag: 'host', readOnly: true, byDefault: true }]);
});

it.each([
  [['none', '/a'], /none does not go with another/],
  [['/a', '/b/a'], /two folders would be \/mnt\/a/],
  [[',ro'], /names no folder/],
  [[':tag'], /names no folder/],
  [['/a:'], / is no tag/],
  [['/a:..'], /\.\. is no tag/],
  [['/a:b c'], /b c is no tag/],
  [['/a b'], /a b is no tag; give one behind a colon/],
  [[`/a:${'x'.repeat(37)}`], /up to 36/],
])('refuses --share %j', (texts, message) => {
  expect(() => parseShares(texts)).toThrow(
    expect.objectContaining({ status: exitStatus.usage, message: expect.stringMatching(message) }),
  );
});
