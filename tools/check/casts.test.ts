import { describe, expect, it } from 'vitest';
import { checkCasts } from './casts.ts';
import { sourcesOf } from './repository.fixture.ts';

const lines = (text: string) =>
  checkCasts(sourcesOf({ 'packages/a/src/a.ts': text })).map(({ line }) => line);

describe('casts have reasons', () => {
  it.each([
    'const a = b as C; // The table above holds no other kind.',
    '// The table above holds no other kind.\nconst a = b as C;',
    '/* checked */ const a = b as C;',
    '// Checked.\nconst a = {\n  b,\n} as C;',
    'const a = [1, 2] as const;',
    'const a = b satisfies C;',
    "import { a as b } from './a.ts';\nexport { b as c };",
    "const text = 'b as C';",
  ])('admits %j', (text) => {
    expect(lines(text)).toEqual([]);
  });

  it.each([
    ['const a = b as C;', 1],
    ['// Too far away.\n\nconst a = b as C;', 3],
    ['/** What a is. */\nconst a = b as C;', 2],
    ['// biome-ignore lint/suspicious/x: no reason for the cast\nconst a = b as C;', 2],
    ["const a = '// no comment'; const b = a as C;", 1],
    ['const a = <C>b;', 1],
    ['// Never a reason.\nlet a: any;', 2],
  ])('refuses %j', (text, line) => {
    expect(lines(text)).toEqual([line]);
  });
});
