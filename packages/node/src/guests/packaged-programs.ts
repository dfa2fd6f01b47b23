import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import type { CpioEntry } from './cpio.ts';

/** Programs lie in these, and in them alone. */
const programFolders = ['bin', 'sbin', 'usr/bin', 'usr/sbin'];

/** A library as the dynamic linker finds it: in a folder of libraries, or in its processor's own within. */
const library = /^(usr\/)?lib(\d+|x\d+)?\/([^/]+\/)?[^/]+\.so(\.[^/]*)?$/;

/** What programs are loaded by. They name it where it was before all of them lay below `usr`. */
const loader = /^usr\/(lib\d*\/ld[^/]*\.so\.\d+)$/;

/**
 * The programs and libraries of unpacked packages, as members of an initramfs, with the folders that they lie in.
 *
 * @param tree where the packages were unpacked
 * @param present paths that the initramfs has already
 */
export async function packagedPrograms(tree: string, present: Iterable<string>): Promise<CpioEntry[]> {
  const files = await readdir(tree, { recursive: true });
  const wanted = files.filter((path) => programFolders.includes(dirname(path)) || library.test(path)).sort();
  const seen = new Set(present);
  const entries: CpioEntry[] = [];
  const place = (path: string): void => {
    for (const folder of foldersOf(path)) {
      if (!seen.has(folder)) entries.push({ type: 'directory', path: folder });
      seen.add(folder);
    }
    seen.add(path);
  };
  for (const path of wanted) {
    const found = await lstat(join(tree, path));
    if (found.isDirectory() || seen.has(path)) continue;
    place(path);
    entries.push(
      found.isSymbolicLink()
        ? { type: 'symlink', path, target: await readlink(join(tree, path)) }
        : { type: 'file', path, data: await readFile(join(tree, path)), mode: found.mode & 0o777 },
    );
    const named = loader.exec(path)?.[1];
    if (named === undefined || wanted.includes(named)) continue;
    place(named);
    entries.push({ type: 'symlink', path: named, target: `/${path}` });
  }
  return entries;
}

/** The folders that a path lies in, outermost first. */
function foldersOf(path: string): string[] {
  const parent = posix.dirname(path);
  return parent === '.' ? [] : [...foldersOf(parent), parent];
}
