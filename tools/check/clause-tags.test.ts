import { expect, it } from 'vitest';
import { parseClauses } from '../clauses/clause-list.ts';
import { checkClauseTags } from './clause-tags.ts';
import { sourcesOf } from './repository.fixture.ts';

const clauses = parseClauses(
  'clause\tside\ttitle\tlabel\n2.7.4.1\tdevice\tMessage Framing\tBasics / Message Framing\n',
);
const check = (text: string) => checkClauseTags(sourcesOf({ 'packages/a/src/a.ts': text }), clauses);

it.each([
  '/** @spec 2.7.4.1 device: Basics / Message Framing */\nf();',
  '/**\n * Reads.\n * @spec 2.7.4.1 device: Basics / Message Framing\n */\nf();',
  'class A {\n  // @spec 2.7.4.1 device: Basics / Message Framing\n  f() {}\n}',
  '// Prose may speak of @spec tags.',
  "const text = '// @spec 1 nonsense';",
])('admits %j', (text) => {
  expect(check(text)).toEqual([]);
});

it.each([
  ['an unknown label', '/** @spec 2.7.4.1 device: Basics / Framing */\nf();'],
  ['the other side', '/** @spec 2.7.4.1 driver: Basics / Message Framing */\nf();'],
  ['a wrong number', '/** @spec 2.7.4.2 device: Basics / Message Framing */\nf();'],
  ['another form', '/** @spec device: Basics / Message Framing */\nf();'],
  ['an empty tag', '// @spec\nf();'],
])('refuses %s', (_, text) => {
  expect(check(text)).toHaveLength(1);
});

it('tells the line within a long comment', () => {
  expect(check('f();\n/**\n * Reads.\n *\n * @spec 1 none\n */\ng();')).toMatchObject([{ line: 5 }]);
});
