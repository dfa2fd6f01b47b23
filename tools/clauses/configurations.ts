import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Source } from '../source/source.ts';

/** In how many configurations each conformance case runs, by file and statement. */
export type Configurations = ReadonlyMap<string, number>;

export function configurationKey(file: string, statement: string): string {
  return `${file}\n${statement}`;
}

/**
 * What a `*.case.ts` file may export for the records: its cases, and in how many configurations of the
 * matrix (transport × ring × event index × indirect × in-order) one of them runs. Importing the file and
 * asking must run no guest. A file without both is recorded without numbers.
 */
interface CaseModule {
  readonly cases?: readonly { readonly statement: string }[];
  readonly configurationsOf?: (one: { readonly statement: string }) => readonly unknown[] | number;
}

export async function readConfigurations(root: string, sources: readonly Source[]): Promise<Configurations> {
  const counts = new Map<string, number>();
  for (const { path } of sources.filter((source) => source.path.endsWith('.case.ts'))) {
    const { cases, configurationsOf }: CaseModule = await import(pathToFileURL(join(root, path)).href);
    if (cases === undefined || configurationsOf === undefined) continue;
    for (const one of cases) {
      const configurations = configurationsOf(one);
      const count = typeof configurations === 'number' ? configurations : configurations.length;
      counts.set(configurationKey(path, one.statement), count);
    }
  }
  return counts;
}
