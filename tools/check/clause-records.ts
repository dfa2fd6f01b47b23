import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateClauses } from '../clauses/generate.ts';
import type { Source } from '../source/source.ts';
import type { Finding } from './finding.ts';

/** Every clause has one status, and SPEC.md and the data of `virtio clauses` are what the sources yield. */
export async function checkClauseRecords(root: string, sources: readonly Source[]): Promise<Finding[]> {
  const { files, findings } = await generateClauses(root, sources);
  return [
    ...findings,
    ...[...files].flatMap(([path, fresh]) => compareGenerated(path, readIfThere(join(root, path)), fresh)),
  ];
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // A generated file that was never made is out of date, which the comparison says.
  }
}

export function compareGenerated(file: string, recorded: string | undefined, fresh: string): Finding[] {
  if (recorded === fresh) return [];
  return [
    { file, message: 'is out of date: run `npm run clauses`' },
    ...lostTests(recorded ?? '', fresh).map((link) => ({
      file,
      message: `names a test that is lost: ${link}`,
    })),
  ];
}

const link = /\[(?:\\.|[^\]\\])+\]\([^)\s]+\.ts\)/g;

/** The tests that the recorded SPEC.md names and the sources no longer hold. */
function lostTests(recorded: string, fresh: string): string[] {
  const kept = new Set(fresh.match(link));
  return [...new Set(recorded.match(link))].filter((test) => !kept.has(test));
}
