import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { readClauses } from './clause-list.ts';
import { clausesModule } from './clauses-module.ts';
import { configurationKey } from './configurations.ts';
import { makeRecords } from './records.ts';
import { recordsModule } from './records-module.ts';
import { specMarkdown } from './spec-markdown.ts';
import type { ClauseStatus } from './status.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const clauses = readClauses(root);
const id = 'device: Basic Facilities of a Virtio Device / Message Framing';
const citation = {
  clause: id,
  title: 'splits | joins [anywhere]',
  file: 'conformance/cases/framing.case.ts',
};
const statuses = new Map<string, ClauseStatus>([[id, { status: 'tested', reason: '', tests: [citation] }]]);
const configurations = new Map([[configurationKey(citation.file, citation.title), 48]]);
const records = makeRecords(clauses, statuses, configurations);

describe('the records of the clauses', () => {
  it('hold all 308, with the tests and their configurations', () => {
    expect(records).toHaveLength(308);
    expect(records.find((record) => record.id === id)).toMatchObject({
      number: '2.7.4.1',
      status: 'tested',
      tests: [{ title: citation.title, file: citation.file, configurations: 48 }],
    });
  });

  it('make SPEC.md: a row a clause, anchors that differ, titles that cannot break the table', () => {
    const text = specMarkdown(records);
    const anchors = [...text.matchAll(/<a id="([^"]+)">/g)].map(([, anchor]) => anchor);
    expect(new Set(anchors).size).toBe(308);
    expect(text).toContain(
      '[splits \\| joins \\[anywhere\\]](conformance/cases/framing.case.ts) (48 configurations)',
    );
    expect(text).toContain('| 2 Basic Facilities of a Virtio Device | 50 | 1 | 0 | 0 | 49 |');
  });

  it('make the module of the ids as it stands', () => {
    expect(readFileSync(`${root}/packages/virtio/src/spec/clauses.ts`, 'utf8')).toBe(clausesModule(clauses));
  });

  it('make a module that parses and carries the same', () => {
    const { outputText, diagnostics } = ts.transpileModule(recordsModule(records), {
      reportDiagnostics: true,
      compilerOptions: { module: ts.ModuleKind.CommonJS },
    });
    expect(diagnostics).toEqual([]);
    expect(outputText).toContain('"configurations": 48');
  });
});
