import * as declared from '../../conformance/clause-status.ts';
import type { Finding } from '../check/finding.ts';
import type { Source } from '../source/source.ts';
import { collectCitations } from './citations.ts';
import { readClauses } from './clause-list.ts';
import { clausesModule } from './clauses-module.ts';
import { readConfigurations } from './configurations.ts';
import { makeRecords } from './records.ts';
import { recordsModule } from './records-module.ts';
import { specMarkdown } from './spec-markdown.ts';
import { statusOfAll } from './status.ts';

export interface GeneratedClauses {
  /** Path from the root to what the file should hold. */
  readonly files: ReadonlyMap<string, string>;
  readonly findings: readonly Finding[];
}

/** Makes, in memory, all that is derived from the clauses, the tests and the declared statuses. */
export async function generateClauses(root: string, sources: readonly Source[]): Promise<GeneratedClauses> {
  const clauses = readClauses(root);
  const { citations, findings } = collectCitations(sources, clauses);
  const { statuses, findings: statusFindings } = statusOfAll(clauses, citations, declared);
  const records = makeRecords(clauses, statuses, await readConfigurations(root, sources));
  return {
    files: new Map([
      ['packages/virtio/src/spec/clauses.ts', clausesModule(clauses)],
      ['SPEC.md', specMarkdown(records)],
      ['packages/cli/src/generated/clauses.ts', recordsModule(records)],
    ]),
    findings: [...findings, ...statusFindings],
  };
}
