import { execFile } from 'node:child_process';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { hashOf } from './cache.ts';

/** A package of a test's own archive. */
export interface TestPackage {
  readonly name: string;
  readonly depends?: string;
  /** What its one file, `usr/share/<name>`, holds. */
  readonly content: string;
}

/**
 * Makes a real Debian archive in a folder, with real .deb files and an index of them, and an `etc` whose apt sources
 * name it. apt takes it from `file:`, so it needs no network; it is trusted unsigned, as a local copy may be.
 */
export async function makeArchive(
  folder: string,
  packages: readonly TestPackage[],
): Promise<{ etc: string; pool: string }> {
  const pool = join(folder, 'archive', 'pool');
  const index = join(folder, 'archive', 'dists', 'bookworm', 'main', 'binary-i386');
  await Promise.all([pool, index].map((path) => mkdir(path, { recursive: true })));
  const stanzas = await Promise.all(packages.map((one) => makePackage(folder, pool, one)));
  const listing = stanzas.join('\n');
  await writeFile(join(index, 'Packages'), listing);
  const release = join(folder, 'archive', 'dists', 'bookworm', 'Release');
  const sum = `${hashOf(listing)} ${Buffer.byteLength(listing)} main/binary-i386/Packages`;
  await writeFile(
    release,
    `Origin: Debian\nCodename: bookworm\nArchitectures: i386\nComponents: main\nSHA256:\n ${sum}\n`,
  );

  const etc = join(folder, 'etc');
  await mkdir(join(etc, 'apt', 'sources.list.d'), { recursive: true });
  await writeFile(join(etc, 'os-release'), 'ID=debian\nVERSION_CODENAME="trixie"\n');
  await writeFile(
    join(etc, 'apt', 'sources.list'),
    `deb [trusted=yes] file:${join(folder, 'archive')} trixie main\n`,
  );
  return { etc, pool };
}

async function makePackage(folder: string, pool: string, one: TestPackage): Promise<string> {
  const tree = join(folder, 'trees', one.name);
  await mkdir(join(tree, 'DEBIAN'), { recursive: true });
  await mkdir(join(tree, 'usr', 'share'), { recursive: true });
  await writeFile(join(tree, 'usr', 'share', one.name), one.content);
  const control = [
    `Package: ${one.name}`,
    'Version: 1:2.0-1',
    'Architecture: i386',
    'Maintainer: Nobody <nobody@example.org>',
    ...(one.depends === undefined ? [] : [`Depends: ${one.depends}`]),
    'Description: made by a test',
  ];
  await writeFile(join(tree, 'DEBIAN', 'control'), `${control.join('\n')}\n`);
  const file = join(pool, `${one.name}_2.0-1_i386.deb`);
  await promisify(execFile)('dpkg-deb', ['--root-owner-group', '--build', tree, file]);
  const { size } = await stat(file);
  const sum = hashOf(await readFile(file));
  return `${[...control, `Filename: pool/${one.name}_2.0-1_i386.deb`, `Size: ${size}`, `SHA256: ${sum}`].join('\n')}\n`;
}
