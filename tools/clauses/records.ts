import type { Clause, ClauseList } from './clause-list.ts';
import { type Configurations, configurationKey } from './configurations.ts';
import type { ClauseStatus, StatusName } from './status.ts';

/** A test that holds a clause, as the records show it. */
export interface TestRecord {
  readonly title: string;
  readonly file: string;
  /** Of the conformance matrix; absent where a test runs once. */
  readonly configurations?: number;
}

/** A clause with all that is known of it here: what SPEC.md and `virtio clauses` show. */
export interface ClauseRecord extends Clause {
  readonly status: StatusName;
  /** Why no test holds it; empty for a tested one. */
  readonly reason: string;
  readonly tests: readonly TestRecord[];
}

/** The records in the order of the text. A clause without a status (a finding elsewhere) counts as not yet. */
export function makeRecords(
  clauses: ClauseList,
  statuses: ReadonlyMap<string, ClauseStatus>,
  configurations: Configurations,
): ClauseRecord[] {
  return [...clauses.values()].map((clause) => {
    const { status, reason, tests } = statuses.get(clause.id) ?? missing;
    return {
      ...clause,
      status,
      reason,
      tests: tests.map(({ title, file }) => {
        const count = configurations.get(configurationKey(file, title));
        return count === undefined ? { title, file } : { title, file, configurations: count };
      }),
    };
  });
}

const missing: ClauseStatus = { status: 'not yet', reason: 'no status recorded', tests: [] };
