import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Browser, chromium } from 'playwright-core';
import type { ConformanceReport } from 'virtio/testing';
import { ensureTool } from 'virtio-node/guests';
import { afterAll, beforeAll, expect, it } from 'vitest';

let browser: Browser;

beforeAll(async () => {
  const progress = ({ step, detail }: { step: string; detail: string }): void =>
    void process.stderr.write(`${step} ${detail}\n`);
  const { CHROMIUM } = process.env;
  const { file, environment } =
    CHROMIUM === undefined ? await ensureTool('chromium', { progress }) : { file: CHROMIUM, environment: {} };
  const inherited = Object.entries(process.env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  browser = await chromium.launch({
    executablePath: file,
    env: { ...Object.fromEntries(inherited), ...environment },
  });
});

afterAll(() => browser?.close());

it('every case of the conformance kit holds in a browser as it does in Node', async () => {
  const bundle = await build({
    entryPoints: [fileURLToPath(new URL('../conformance/page/main.ts', import.meta.url))],
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'conformance',
    conditions: ['source'],
    target: 'es2022',
  });
  const page = await browser.newPage();
  const errors: Error[] = [];
  page.on('pageerror', (error) => void errors.push(error));
  await page.addScriptTag({ content: bundle.outputFiles[0]?.text ?? '' });
  const report: ConformanceReport = await page.evaluate('conformance.report');
  expect(report.results.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
  expect(report.passed).toBeGreaterThan(1000);
  expect(report.results.filter(({ outcome, reason }) => outcome === 'skipped' && !reason)).toEqual([]);
  expect(errors).toEqual([]);
});
