import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import {
  chmod,
  chown,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';

const isRoot = process.geteuid?.() === 0;
const modes = [0o644, 0o755, 0o600, 0o444, 0o4755, 0o2711] as const;
/** Names that have something about them. */
const names = [
  Buffer.from('with space'),
  Buffer.from('ünïcödé'),
  Buffer.from([0x6e, 0x6f, 0x20, 0xff, 0xfe]),
  Buffer.from('x'.repeat(255)),
];
/** Bytes of the file with holes, and of what is in the middle of it. */
const sparseSize = 8 * 2 ** 20;
const sparseData = 100_000;

/** Makes a tree of so many files with all that a file can have: modes, owners, times, links, holes, odd names. */
export async function makeTree(root: string, files: number): Promise<void> {
  await mkdir(root);
  const folders = Math.ceil(files / 100);
  for (let folder = 0; folder < folders; folder++) {
    const path = join(root, `folder${folder}`, 'inner');
    await mkdir(path, { recursive: true });
    for (let file = folder; file < files; file += folders) await makeFile(join(path, `file${file}`), file);
  }
  for (const name of names) await writeFile(Buffer.concat([Buffer.from(`${root}/`), name]), name);
  await link(join(root, 'folder0/inner/file0'), join(root, 'linked'));
  await symlink('folder0/inner/file0', join(root, 'symbolic'));
  await symlink('/nowhere/at all', join(root, 'dangling'));
  await mkdir(join(root, 'empty'), { mode: 0o1777 });
  const sparse = await open(join(root, 'sparse'), 'w');
  await sparse.write(Buffer.alloc(sparseData, 5), 0, sparseData, sparseSize / 2);
  await sparse.truncate(sparseSize);
  await sparse.close();
  await utimes(join(root, 'empty'), 1_000_000_000, 1_234_567_890);
}

async function makeFile(path: string, number: number): Promise<void> {
  const bytes = Buffer.alloc((number * 977) % 6000, `content of ${number}, `);
  await writeFile(path, bytes);
  if (isRoot && number % 7 === 0) await chown(path, 1000 + (number % 50), 2000 + (number % 9));
  await chmod(path, modes[number % modes.length] ?? 0o644);
  await utimes(path, 1_600_000_000 + number, 1_500_000_000 + number * 1.234_567);
}

/** All that there is to know of a tree, a line each; files that are one have the first one's name. */
export async function describeTree(root: string): Promise<string[]> {
  const lines: string[] = [];
  const first = new Map<bigint, string>();
  const visit = async (folder: Buffer, inside: string): Promise<void> => {
    const found = await readdir(folder, { encoding: 'buffer' });
    for (const name of found.sort(Buffer.compare)) {
      const path = Buffer.concat([folder, Buffer.from('/'), name]);
      const shown = `${inside}/${name.toString('latin1')}`;
      const stats = await lstat(path, { bigint: true });
      lines.push(`${shown} ${described(stats)} ${await contentOf(path, stats, first, shown)}`);
      if (stats.isDirectory()) await visit(path, shown);
    }
  };
  await visit(Buffer.from(root), '');
  return lines;
}

function described({ mode, uid, gid, mtimeNs }: BigIntStats): string {
  return `${mode.toString(8)} ${uid}:${gid} ${mtimeNs}`;
}

async function contentOf(
  path: Buffer,
  stats: BigIntStats,
  first: Map<bigint, string>,
  shown: string,
): Promise<string> {
  if (stats.isSymbolicLink()) return `-> ${await readlink(path)}`;
  if (!stats.isFile()) return '';
  const other = first.get(stats.ino);
  if (other !== undefined) return `= ${other}`;
  first.set(stats.ino, shown);
  // What has holes takes less room than it has bytes.
  const holes = stats.blocks * 512n < stats.size / 2n && stats.size > 65_536n ? ' with holes' : '';
  return `${createHash('sha256')
    .update(await readFile(path))
    .digest('hex')}${holes}`;
}
