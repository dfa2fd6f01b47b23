import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { ensureTool } from 'virtio-node/guests';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type PageServer, servePage } from '../packages/v86/page/server.ts';

const patience = 30_000;
let server: PageServer;
let browser: Browser;
let context: BrowserContext;
let page: Page;

beforeAll(async () => {
  const progress = ({ step, detail }: { step: string; detail: string }): void =>
    void process.stderr.write(`${step} ${detail}\n`);
  server = await servePage({ progress });
  const { file, environment } = await ensureTool('chromium', { progress });
  browser = await chromium.launch({
    executablePath: file,
    env: { ...environmentOfThis(), ...environment },
  });
  context = await browser.newContext({ viewport: { width: 1200, height: 700 } });
  context.setDefaultTimeout(patience);
  page = await context.newPage();
  await page.goto(server.url);
  await booted(page);
});

afterAll(async () => {
  await browser?.close();
  await server?.close();
});

test('Linux boots in a page, with our devices on its bus', async () => {
  expect(await page.locator('#devices li').allTextContents()).toEqual([
    'console00:10.0',
    'blk00:11.0',
    'entropy00:13.0',
  ]);
  await type(
    page,
    'ls /sys/bus/virtio/drivers/*/ | grep -c ^virtio; cat /sys/class/misc/hw_random/rng_current',
  );
  await shown(page, '3\nvirtio_rng.0');
});

test("the terminal's size follows the window's", async () => {
  await type(page, 'stty size');
  await shown(page, /\n(\d+) (\d+)\n/);
  const [, before = ''] = /\n\d+ (\d+)\n/.exec(await text(page)) ?? [];
  await page.setViewportSize({ width: 900, height: 700 });
  await type(page, 'clear; stty size');
  await shown(page, /\d+ \d+\n/);
  const [, after = ''] = /\d+ (\d+)\n/.exec(await text(page)) ?? [];
  expect(Number(after)).toBeGreaterThan(40);
  expect(Number(after)).toBeLessThan(Number(before));
  await page.setViewportSize({ width: 1200, height: 700 });
});

test('what was synced to the disk is there after a reload', async () => {
  await type(page, 'clear; echo kept-$((6 * 7)) >/mnt/file; sync; cat /mnt/file');
  await shown(page, 'kept-42\n');
  await page.reload();
  await booted(page);
  await type(page, 'clear; cat /mnt/file');
  await shown(page, 'kept-42\n');
});

test('a second page does not touch a disk that is open', async () => {
  const second = await context.newPage();
  await second.goto(server.url);
  await second.locator('#status[data-state=failed]').waitFor();
  expect(await second.locator('#status').textContent()).toBe('another page has the disk "page" open');
  await second.close();
});

test('the disk can be reset', async () => {
  page.once('dialog', (dialog) => dialog.accept());
  await page.locator('#reset-disk').click();
  await page.locator('#status:not([data-state=ready])').waitFor();
  await booted(page);
  await type(page, 'clear; ls /mnt; echo end');
  await shown(page, /\nend\n/);
  expect(await text(page)).not.toContain('file');
});

async function booted(of: Page): Promise<void> {
  await of.locator('#status:is([data-state=ready], [data-state=failed])').waitFor();
  expect(await of.locator('#status').textContent()).toMatch(/^Ready; booted in/);
  await shown(of, 'virtio:/#');
}

async function type(of: Page, command: string): Promise<void> {
  await of.locator('.xterm-helper-textarea').focus();
  await of.keyboard.type(`${command}\n`);
}

/** What the terminal shows, its lines without the blanks at their ends. */
async function text(of: Page): Promise<string> {
  const lines = await of.locator('.xterm-rows > div').allTextContents();
  return lines.map((line) => line.replaceAll('\u00a0', ' ').trimEnd()).join('\n');
}

async function shown(of: Page, wanted: string | RegExp): Promise<void> {
  await vi.waitFor(async () => expect(await text(of)).toMatch(wanted), { timeout: patience, interval: 200 });
}

function environmentOfThis(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}
