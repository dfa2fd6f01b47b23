import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCommand } from './command.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

describe('the tools that the check runs', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'command-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('finds nothing when the tool is content', () => {
    expect(runCommand(root, 'typescript/bin/tsc', '--version')).toEqual([]);
  });

  it('reports what the compiler said', () => {
    writeFileSync(join(folder, 'wrong.ts'), "export const n: number = 'one';\n");
    const findings = runCommand(folder, 'typescript/bin/tsc', '--noEmit', '--ignoreConfig', 'wrong.ts');
    expect(findings).toHaveLength(1);
    expect(findings[0]?.message).toContain('TS2322');
  });

  it.each([
    ['a floating promise', 'noFloatingPromises', 'async function f(): Promise<void> {}\nf();\n'],
    ['any', 'noExplicitAny', 'export let a: any;\n'],
    ['a file that is not formatted', 'format', 'export const a = "a"\n'],
  ])('the linter refuses %s', (_, rule, text) => {
    for (const name of ['biome.json', '.gitignore']) cpSync(join(root, name), join(folder, name));
    writeFileSync(join(folder, 'wrong.ts'), text);
    const [finding] = runCommand(folder, '@biomejs/biome/bin/biome', 'ci', '--colors=off', '.');
    expect(finding?.message).toContain(rule);
  });
});
