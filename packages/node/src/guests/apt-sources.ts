import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isMissing } from './cache.ts';
import { entriesForSuite, parseDeb822Sources, parseSourcesList, type SourceEntry } from './sources.ts';

/** The system's own package sources, in both forms, disabled ones left out. */
async function systemSources(etc: string): Promise<SourceEntry[]> {
  const entries: SourceEntry[] = [];
  for (const path of [join(etc, 'apt', 'sources.list'), ...(await sourceParts(etc))]) {
    if (path.endsWith('.sources')) entries.push(...parseDeb822Sources(await readText(path)));
    else if (path.endsWith('.list')) entries.push(...parseSourcesList(await readText(path)));
  }
  return entries;
}

/** Paths of the files that hold the system's sources beside `sources.list`. */
export async function sourceParts(etc: string): Promise<string[]> {
  const folder = join(etc, 'apt', 'sources.list.d');
  return (await listFolder(folder)).sort().map((name) => join(folder, name));
}

/**
 * The backports of the system's own release of Debian, and the sources to be added to the system's for them: none
 * where it has them already. `undefined` if the system is no Debian, or a release whose own packages are young enough.
 */
export async function backports(
  etc: string,
): Promise<{ readonly suite: string; readonly added: readonly SourceEntry[] } | undefined> {
  const release = await osRelease(etc);
  if (release.get('ID') !== 'debian' || release.get('VERSION_CODENAME') !== 'bookworm') return undefined;
  const suite = 'bookworm-backports';
  const present = (await systemSources(etc)).some(({ suites }) => suites.includes(suite));
  const entries = present ? [] : await sourcesForSuite(etc, suite);
  return { suite, added: entries.map((entry) => ({ ...entry, suites: [suite] })) };
}

/** The system's sources, turned to another suite of Debian; none if the system is not a Debian. */
export async function sourcesForSuite(etc: string, suite: string): Promise<SourceEntry[]> {
  const release = await osRelease(etc);
  if (release.get('ID') !== 'debian') return [];
  const codename = release.get('VERSION_CODENAME');
  const symbolic = ['oldoldstable', 'oldstable', 'stable', 'testing', 'unstable', 'sid'];
  return entriesForSuite(await systemSources(etc), [...(codename ? [codename] : []), ...symbolic], suite);
}

async function osRelease(etc: string): Promise<Map<string, string>> {
  const lines = (await readText(join(etc, 'os-release'))).split('\n');
  return new Map(
    lines.flatMap((line): [string, string][] => {
      const match = /^([A-Z_]+)="?([^"]*)"?$/.exec(line);
      return match ? [[match[1] ?? '', match[2] ?? '']] : [];
    }),
  );
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return '';
    throw error;
  }
}

async function listFolder(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
