import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { ensureTool } from 'virtio-node/guests';

/** Debian's Chromium, without a window; its storage is in a folder of its own, as that of a user's is. */
async function launchChromium(folder: string): Promise<BrowserContext> {
  const { file, environment } = await ensureTool('chromium');
  const env = Object.fromEntries(
    Object.entries({ ...process.env, ...environment }).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value]],
    ),
  );
  return chromium.launchPersistentContext(folder, { executablePath: file, env });
}

/** A page in a real browser whose script, one of these files, has set `globalThis.tests`: functions that answer JSON. */
export class TestPage {
  readonly #server: Server;
  readonly #folder: string;
  #page: Page;

  private constructor(server: Server, folder: string, page: Page) {
    this.#server = server;
    this.#folder = folder;
    this.#page = page;
  }

  /** Builds the script, serves it to this machine alone, and opens it. */
  static async start(script: string): Promise<TestPage> {
    const { outputFiles } = await build({
      entryPoints: [fileURLToPath(new URL(script, import.meta.url))],
      bundle: true,
      write: false,
      format: 'esm',
      conditions: ['source'],
    });
    const text = outputFiles[0]?.text ?? '';
    const server = createServer((request, response) => {
      const isScript = request.url === '/test.js';
      response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
      response.end(isScript ? text : '<!doctype html><script type="module" src="test.js"></script>');
    });
    await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
    const folder = await mkdtemp(join(tmpdir(), 'virtio-browser-'));
    return new TestPage(server, folder, await opened(server, await launchChromium(folder)));
  }

  get page(): Page {
    return this.#page;
  }

  /** Goes on with another page in its place. */
  take(page: Page): void {
    this.#page = page;
  }

  /** Has the browser grant so many bytes of storage, and no more. */
  async grant(bytes: number): Promise<void> {
    const session = await this.page.context().newCDPSession(this.page);
    await session.send('Storage.overrideQuotaForOrigin', {
      origin: new URL(this.page.url()).origin,
      quotaSize: bytes,
    });
  }

  /** Another page of the same user's. */
  another(): Promise<Page> {
    return opened(this.#server, this.page.context());
  }

  run(name: string, argument: unknown = null, page = this.page): Promise<unknown> {
    return page.evaluate(`tests.${name}(${JSON.stringify(argument)})`);
  }

  async reload(): Promise<void> {
    await this.page.reload();
    await this.page.waitForFunction('globalThis.tests !== undefined');
  }

  async close(): Promise<void> {
    await this.page.context().close();
    this.#server.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function opened(server: Server, context: BrowserContext): Promise<Page> {
  const page = await context.newPage();
  // A server that listens on a port has an address of this kind.
  const { port } = server.address() as AddressInfo;
  await page.goto(`http://localhost:${port}/`);
  await page.waitForFunction('globalThis.tests !== undefined');
  return page;
}
