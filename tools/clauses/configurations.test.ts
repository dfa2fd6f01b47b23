import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseSource } from '../source/source.ts';
import { readConfigurations } from './configurations.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cases-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const read = (file: string, text: string) => {
  writeFileSync(join(folder, file), text);
  return readConfigurations(folder, [parseSource(file, text)]);
};

const cases = "export const cases = [{ clause: 'c', statement: 's' }];";

it('asks a case file in how many configurations each case runs', async () => {
  const counts = await read(
    'a.case.ts',
    `${cases}\nexport const configurationsOf = () => ['split', 'packed'];`,
  );
  expect([...counts]).toEqual([['a.case.ts\ns', 2]]);
});

it('records no number where a file gives none, and leaves other files alone', async () => {
  expect((await read('b.case.ts', cases)).size).toBe(0);
  expect((await read('c.ts', 'throw new Error();')).size).toBe(0);
});
