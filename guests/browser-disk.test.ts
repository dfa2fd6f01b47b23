import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Browser, chromium, type Page } from 'playwright-core';
import { ensureTool } from 'virtio-node/guests';
import { afterAll, beforeAll, expect, test } from 'vitest';

let server: Server;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('browser-disk.page.ts', import.meta.url))],
    bundle: true,
    write: false,
    format: 'esm',
    conditions: ['source'],
  });
  const script = outputFiles[0]?.text ?? '';
  server = createServer((request, response) => {
    const isScript = request.url === '/test.js';
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
    response.end(isScript ? script : '<!doctype html><script type="module" src="test.js"></script>');
  });
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  const { file, environment } = await ensureTool('chromium');
  const env = Object.fromEntries(
    Object.entries({ ...process.env, ...environment }).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value]],
    ),
  );
  browser = await chromium.launch({ executablePath: file, env });
  page = await open();
});

afterAll(async () => {
  await browser?.close();
  server?.close();
});

async function open(of = browser.contexts()[0]): Promise<Page> {
  const opened = await (of ?? (await browser.newContext())).newPage();
  // A server that listens on a port has an address of this kind.
  const { port } = server.address() as AddressInfo;
  await opened.goto(`http://localhost:${port}/`);
  await opened.waitForFunction('globalThis.tests !== undefined');
  return opened;
}

const run = (name: string, argument: unknown = null): Promise<unknown> =>
  page.evaluate(`tests.${name}(${JSON.stringify(argument)})`);

test('holds what was written, whatever the cache has room for', async () => {
  // 64 chunks of 4 KiB, of which 4 fit the cache; every step is checked against a copy in memory.
  expect(await run('randomOperations', { seed: 7, steps: 2000 })).toBe('as in memory');
});

test('keeps after a reload what was flushed, and takes no room for zeroes', async () => {
  expect(await run('writeAndFlush')).toBe(3);
  await page.reload();
  await page.waitForFunction('globalThis.tests !== undefined');
  expect(await run('readBack')).toEqual([1, 0, 2]);
});

test('is for one page at a time, of one size, and can be deleted', async () => {
  expect(await run('hold')).toBe('held');
  const second = await open(page.context());
  expect(await second.evaluate('tests.hold(null)')).toBe('IN_USE');
  expect(await second.evaluate('tests.remove(null)')).toBe('IN_USE');
  expect(await run('letGo')).toBe('let go');
  expect(await second.evaluate('tests.openWithOtherSize(null)')).toBe('BAD_ARGUMENT');
  expect(await second.evaluate('tests.remove(null)')).toBe('removed');
  expect(await run('readBack')).toEqual([0, 0, 0]);
  await second.close();
});

test('refuses sizes that are not whole sectors', async () => {
  expect(await run('badSizes')).toEqual(['BAD_ARGUMENT', 'BAD_ARGUMENT', 'BAD_ARGUMENT']);
});
