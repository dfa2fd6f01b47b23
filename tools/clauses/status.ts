import type { Finding } from '../check/finding.ts';
import type { Citation } from './citations.ts';
import type { ClauseList } from './clause-list.ts';

export const statusNames = ['tested', 'held by types', 'not observable', 'not yet'] as const;
export type StatusName = (typeof statusNames)[number];

/** Every clause whose label begins so, unless something more exact is known of it. */
export interface NotYetBelow {
  readonly below: string;
  readonly why: string;
}

/** What is said of clauses that no test holds. Keys are clause ids, values are reasons. */
export interface DeclaredStatus {
  readonly heldByTypes: Readonly<Record<string, string>>;
  readonly notObservable: Readonly<Record<string, string>>;
  readonly notYet: Readonly<Record<string, string>>;
  readonly notYetBelow: readonly NotYetBelow[];
}

export interface ClauseStatus {
  readonly status: StatusName;
  /** Why no test holds it; empty for a tested one. */
  readonly reason: string;
  readonly tests: readonly Citation[];
}

/** The file that declares, for the findings. */
const file = 'conformance/clause-status.ts';

/** Gives each clause its one status. Whatever leaves a clause with none or with two is a finding. */
export function statusOfAll(
  clauses: ClauseList,
  citations: readonly Citation[],
  declared: DeclaredStatus,
): { readonly statuses: ReadonlyMap<string, ClauseStatus>; readonly findings: readonly Finding[] } {
  const findings: Finding[] = [];
  const used = new Set<NotYetBelow>();
  const tables = [
    ['held by types', declared.heldByTypes],
    ['not observable', declared.notObservable],
    ['not yet', declared.notYet],
  ] as const;

  const statuses = new Map<string, ClauseStatus>();
  for (const { id, number, label } of clauses.values()) {
    const tests = citations.filter(({ clause }) => clause === id);
    const candidates: ClauseStatus[] = tests.length > 0 ? [{ status: 'tested', reason: '', tests }] : [];
    for (const [status, reasons] of tables) {
      const reason = reasons[id];
      if (reason !== undefined) candidates.push({ status, reason, tests: [] });
    }
    if (candidates.length > 1) {
      const names = candidates.map(({ status }) => status).join(' and ');
      findings.push({ file, message: `${number} ${id} is ${names}: keep one` });
    }
    const rule = declared.notYetBelow.find(({ below }) => label === below || label.startsWith(`${below} / `));
    if (candidates.length === 0 && rule) {
      used.add(rule);
      candidates.push({ status: 'not yet', reason: rule.why, tests: [] });
    }
    const [status] = candidates;
    if (status) statuses.set(id, status);
    else
      findings.push({
        file,
        message: `${number} ${id} has no status`,
      });
  }

  for (const id of tables.flatMap(([, reasons]) => Object.keys(reasons))) {
    if (!clauses.has(id)) findings.push({ file, message: `"${id}" is no clause of v1.4` });
  }
  for (const rule of declared.notYetBelow) {
    if (!used.has(rule))
      findings.push({ file, message: `nothing is left below "${rule.below}": remove its line` });
  }
  return { statuses, findings };
}
