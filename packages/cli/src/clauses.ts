import { type ClauseRecord, clauseRecords } from './generated/clauses.ts';
import { bold, formatJson, formatTable, type Output } from './output.ts';
import { specVersion } from './version.ts';

/** `virtio clauses`: where this project stands on every normative clause. */
export function clausesCommand(output: Output, options: { readonly json: boolean }): void {
  if (options.json) {
    output.out(
      formatJson({ virtio: specVersion, summary: countByStatus(clauseRecords), clauses: clauseRecords }),
    );
    return;
  }
  output.out(formatTable(clauseRecords.map(row)));
  const counts = Object.entries(countByStatus(clauseRecords)).map(([status, count]) => `${count} ${status}`);
  output.out(
    `\n${bold(`${clauseRecords.length} clauses of virtio ${specVersion}`, output.colour)}: ${counts.join(', ')}\n`,
  );
  output.out('virtio clauses --json names the tests that hold each.\n');
}

function row({ side, number, title, status, reason, tests }: ClauseRecord): string[] {
  const why = status === 'tested' ? `${tests.length} ${tests.length === 1 ? 'test' : 'tests'}` : reason;
  return [number, side, title, status, why];
}

/** How many clauses stand at each status. */
function countByStatus(clauses: readonly ClauseRecord[]): Record<ClauseRecord['status'], number> {
  const counts = { tested: 0, 'held by types': 0, 'not observable': 0, 'not yet': 0 };
  for (const { status } of clauses) counts[status]++;
  return counts;
}
