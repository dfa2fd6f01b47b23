import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { ensureTool } from 'virtio-node/guests';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';

const patience = 120_000;
let server: ChildProcess;
let url: string;
let browser: Browser;
let context: BrowserContext;
let page: Page;

beforeAll(async () => {
  const script = fileURLToPath(new URL('../packages/v86/page/serve.ts', import.meta.url));
  server = spawn(process.execPath, ['--import', 'tsx', '--conditions=source', script, '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  url = await addressOf(server);
  const { file, environment } = await ensureTool('chromium');
  browser = await chromium.launch({
    executablePath: file,
    env: { ...environmentOfThis(), ...environment },
  });
  context = await browser.newContext({ viewport: { width: 1200, height: 700 } });
  context.setDefaultTimeout(patience);
  page = await context.newPage();
  await page.goto(url);
  await booted(page);
});

afterAll(async () => {
  await browser?.close();
  server?.kill();
});

test('Linux boots in a page, with our devices on its bus', async () => {
  expect(await page.locator('#devices li').allTextContents()).toEqual([
    'console00:10.0',
    'blk00:11.0',
    'entropy00:13.0',
    'fs00:14.0',
  ]);
  await type(
    page,
    'ls /sys/bus/virtio/drivers/*/ | grep -c ^virtio; cat /sys/class/misc/hw_random/rng_current',
  );
  await shown(page, '4\nvirtio_rng.0');
});

test("the terminal's size follows the window's", async () => {
  const columns = async (mark: string): Promise<number> => {
    await type(page, `echo ${mark}=$(stty size)`);
    const size = new RegExp(`\\n${mark}=\\d+ (\\d+)\\n`);
    await shown(page, size);
    return Number(size.exec(await text(page))?.[1]);
  };
  const wide = await columns('wide');
  await page.setViewportSize({ width: 900, height: 700 });
  // The guest hears of it in its own time.
  let narrow = await columns('narrow0');
  for (let i = 1; i < 20 && narrow === wide; i++) narrow = await columns(`narrow${i}`);
  expect(narrow).toBeLessThan(wide);
  expect(narrow).toBeGreaterThan(40);
  await page.setViewportSize({ width: 1200, height: 700 });
  await type(page, 'clear');
});

/** A hash of all that a copy of a folder keeps: names, modes, owners, times, targets and contents. */
const describe = (folder: string): string =>
  `(cd ${folder}; find . | sort | while read f; do
     if [ -h "$f" ]; then stat -c '%n %f %u:%g' "$f"; readlink "$f"; else stat -c '%n %f %u:%g %Y %t:%T' "$f"; fi;
     [ ! -f "$f" ] || sha256sum "$f";
   done) | sha256sum`.replace(/\n */g, ' ');

test('what was synced to the disk, and to the files, is there after a reload', async () => {
  await type(page, 'clear; echo kept-$((6 * 7)) >/mnt/file; sync; cat /mnt/file');
  await shown(page, 'kept-42\n');
  await type(
    page,
    'clear; mkdir /mnt/tree; cp -a /etc /mnt/tree; cd /mnt/tree; ln -s ../x link; mkfifo -m 640 p; mknod n c 1 3; touch -d "2001-02-03 04:05:06" p; chown 12:34 n; chmod 4711 etc/passwd; cd /; echo made',
  );
  await shown(page, /^made\n/m);
  await type(
    page,
    `clear; cp -a /mnt/tree /mnt/page && sync; for d in /mnt /mnt/page; do ${describe('$d/tree')}; done`,
  );
  const copied = await shownHashes();
  expect(copied[1]).toBe(copied[0]);
  await page.reload();
  await booted(page);
  await type(page, 'clear; cat /mnt/file');
  await shown(page, 'kept-42\n');
  await type(
    page,
    `clear; cp -a /mnt/page/tree /mnt/back; for d in /mnt/page/tree /mnt/back; do ${describe('$d')}; done`,
  );
  expect(await shownHashes()).toEqual(copied);
});

test('a second page does not touch a disk that is open', async () => {
  const second = await context.newPage();
  await second.goto(url);
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

test('Ctrl-C ends the server', async () => {
  await page.close();
  const ended = once(server, 'exit');
  server.kill('SIGINT');
  expect(await ended).toEqual([0, null]);
});

/** What the server prints when it listens. */
async function addressOf({ stdout }: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: stdout ?? process.stdin })) {
    const found = /http:\S+/.exec(line)?.[0];
    if (found !== undefined) return found;
  }
  throw new Error('the server ended before it listened');
}

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

/** The two hashes that the terminal shows before long. */
async function shownHashes(): Promise<string[]> {
  await shown(page, /^[0-9a-f]{64} +-\n[0-9a-f]{64} +-\n/m);
  return (await text(page)).match(/^[0-9a-f]{64}\b/gm) ?? [];
}

function environmentOfThis(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}
