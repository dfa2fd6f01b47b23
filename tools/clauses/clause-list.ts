import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export type Side = 'device' | 'driver';

/** A normative clause, as `tools/clauses.tsv` lists it. */
export interface Clause {
  /** `side: label`, which does not change between versions of the specification. */
  readonly id: string;
  /** The section in v1.4. */
  readonly number: string;
  readonly side: Side;
  readonly title: string;
  readonly label: string;
  /** Sentences with MUST; with SHOULD and no MUST; with MAY and neither. */
  readonly must: number;
  readonly should: number;
  readonly may: number;
  /** The file of the specification's own source that holds it. */
  readonly source: string;
}

/** The clauses by id, in the order of the text. */
export type ClauseList = ReadonlyMap<string, Clause>;

export function readClauses(root: string): ClauseList {
  return parseClauses(readFileSync(join(root, 'tools/clauses.tsv'), 'utf8'));
}

export function parseClauses(text: string): ClauseList {
  const [header, ...rows] = text.trimEnd().split('\n');
  const names = header?.split('\t') ?? [];
  const clauses = rows.map((row) => {
    const cells = row.split('\t');
    const cell = (name: string): string => cells[names.indexOf(name)] ?? '';
    const side: Side = cell('side') === 'device' ? 'device' : 'driver';
    return {
      id: `${side}: ${cell('label')}`,
      number: cell('clause'),
      side,
      title: cell('title'),
      label: cell('label'),
      must: Number(cell('must')),
      should: Number(cell('should')),
      may: Number(cell('may')),
      source: cell('source'),
    };
  });
  return new Map(clauses.map((clause) => [clause.id, clause]));
}
