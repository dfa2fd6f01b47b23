import { expect, it } from 'vitest';
import { testLink } from '../clauses/spec-markdown.ts';
import { compareGenerated } from './clause-records.ts';

const row = (title: string) => `| 2.1.1 | ${testLink({ title, file: 'packages/a/src/a.test.ts' })} |\n`;

it('admits a file that is what the sources yield', () => {
  expect(compareGenerated('SPEC.md', row('wraps'), row('wraps'))).toEqual([]);
});

it('says when the file is out of date or was never made', () => {
  expect(compareGenerated('SPEC.md', row('wraps'), row('wraps') + row('grows'))).toHaveLength(1);
  expect(compareGenerated('SPEC.md', undefined, row('wraps'))).toHaveLength(1);
});

it('names a test that is lost', () => {
  const findings = compareGenerated('SPEC.md', row('wraps') + row('reads le16[] (of 2)'), row('wraps'));
  expect(findings.map(({ message }) => message)).toContainEqual(expect.stringContaining('reads le16'));
  expect(findings).toHaveLength(2);
});
