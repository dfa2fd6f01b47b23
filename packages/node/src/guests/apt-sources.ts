import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isMissing } from './cache.ts';
import { entriesForSuite, parseDeb822Sources, parseSourcesList, type SourceEntry } from './sources.ts';

/** The system's own package sources, in both forms, disabled ones left out. */
export async function systemSources(etc: string): Promise<SourceEntry[]> {
  const apt = join(etc, 'apt');
  const parts = (await listFolder(join(apt, 'sources.list.d')))
    .sort()
    .map((name) => join('sources.list.d', name));
  const entries: SourceEntry[] = [];
  for (const name of ['sources.list', ...parts]) {
    if (name.endsWith('.sources')) entries.push(...parseDeb822Sources(await readText(join(apt, name))));
    else if (name.endsWith('.list')) entries.push(...parseSourcesList(await readText(join(apt, name))));
  }
  return entries;
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
