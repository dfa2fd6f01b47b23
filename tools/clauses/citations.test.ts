import { describe, expect, it } from 'vitest';
import { sourcesOf } from '../check/repository.fixture.ts';
import { collectCitations } from './citations.ts';
import { parseClauses } from './clause-list.ts';

const clauses = parseClauses(
  'clause\tside\ttitle\tlabel\n2.1\tdevice\tA\tBasics / A\n2.2\tdriver\tB\tBasics / B\n',
);
const a = '@holds 2.1 device: Basics / A';
const b = '@holds 2.2 driver: Basics / B';

const collect = (text: string, file = 'a.test.ts') => collectCitations(sourcesOf({ [file]: text }), clauses);
const titles = (text: string, file?: string) =>
  collect(text, file).citations.map(({ clause, title }) => [clause, title]);

describe('citations of clauses', () => {
  it('are found above a test and within it', () => {
    expect(titles(`// ${a}\nit('one', () => {});\nit('two', () => {\n  // ${b}\n  f();\n});`)).toEqual([
      ['device: Basics / A', 'one'],
      ['driver: Basics / B', 'two'],
    ]);
  });

  it('stand in doc comments, several in one', () => {
    expect(titles(`/**\n * ${a}\n * ${b}\n */\ntest('one', () => {});`)).toEqual([
      ['device: Basics / A', 'one'],
      ['driver: Basics / B', 'one'],
    ]);
  });

  it('carry the titles of the groups, and of tables of tests', () => {
    const text = `describe('ring', () => {\n  // ${a}\n  it.each([1, 2])('wraps %d', () => {});\n  for (const n of sizes) {\n    // ${b}\n    it(\`grows \${n}\`, () => {});\n  }\n});`;
    expect(titles(text)).toEqual([
      ['device: Basics / A', 'ring › wraps %d'],
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the title is shown as it is written
      ['driver: Basics / B', 'ring › grows ${n}'],
    ]);
  });

  it('are conformance cases themselves', () => {
    const text = `export const cases = [\n  { clause: 'device: Basics / A', statement: 'keeps the order', async body() {} },\n];`;
    expect(titles(text, 'conformance/cases/a.case.ts')).toEqual([['device: Basics / A', 'keeps the order']]);
    expect(titles(text, 'conformance/a.ts')).toEqual([]);
  });

  it('may add a second clause to a case', () => {
    const text = `export const cases = [\n  // ${b}\n  { clause: 'device: Basics / A', statement: 'keeps the order' },\n];`;
    expect(titles(text, 'a.case.ts')).toEqual([
      ['driver: Basics / B', 'keeps the order'],
      ['device: Basics / A', 'keeps the order'],
    ]);
  });

  it.each([
    ['belongs to no test', `// ${a}\nconst x = 1;\nit('one', () => {});`],
    ['stands on a group', `// ${a}\ndescribe('ring', () => { it('one', () => {}); });`],
    ['stands on a skipped test', `// ${a}\nit.skip('one', () => {});`],
    ['stands in a skipped group', `describe.skip('ring', () => {\n  // ${a}\n  it('one', () => {});\n});`],
    ['cites an unknown clause', "// @holds 2.1 device: Basics / C\nit('one', () => {});"],
    ['has a wrong number', "// @holds 2.2 device: Basics / A\nit('one', () => {});"],
  ])('is refused when it %s', (_, text) => {
    const { citations, findings } = collect(text);
    expect(citations).toEqual([]);
    expect(findings).toHaveLength(1);
  });

  it('is refused outside of tests, and a case of an unknown clause with it', () => {
    expect(collect(`// ${a}\nit('one', () => {});`, 'a.ts').findings).toHaveLength(1);
    expect(collect("const c = { clause: 'device: C', statement: 's' };", 'a.case.ts').findings).toHaveLength(
      1,
    );
  });
});
