import type { Json } from 'virtio/device';
import {
  decodeName,
  fileType,
  fsDevice,
  memoryFiles,
  type OpenFs,
  openFlag,
  openFs,
} from 'virtio/devices/fs';
import { Loopback } from 'virtio/transports/loopback';
import {
  type BrowserTree,
  browserFolder,
  deleteBrowserFiles,
  openBrowserFiles,
} from 'virtio-v86/browser-files';

/** What runs in the page, called by browser-files.test.ts. */
const name = 'test';
const caller = { uid: 1, gid: 2, pid: 3 };
let held: BrowserTree | undefined;

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error);

/** What came of it, as text. */
const outcome = (work: Promise<unknown>): Promise<string> =>
  work.then(
    (value) => (value instanceof Uint8Array ? hashOf(value) : (JSON.stringify(value) ?? 'done')),
    codeOf,
  );

const hashOf = (bytes: Uint8Array): string =>
  `${bytes.length} bytes, ${bytes.reduce((hash, byte) => (Math.imul(hash, 31) + byte) >>> 0, 7)}`;

const mounted = (files: Parameters<typeof fsDevice>[0]['files']): Promise<OpenFs> =>
  openFs(new Loopback(fsDevice({ tag: 'files', files })));

/** Small, repeatable and good enough to mix operations. */
function randomNumbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

async function folder(of: string): Promise<FileSystemDirectoryHandle> {
  return (await navigator.storage.getDirectory()).getDirectoryHandle(of, { create: true });
}

async function openKind(kind: 'named' | 'folder'): Promise<BrowserTree> {
  if (kind === 'named') {
    await deleteBrowserFiles(name);
    return openBrowserFiles(name);
  }
  await (await navigator.storage.getDirectory()).removeEntry('picked', { recursive: true }).catch(() => {});
  return browserFolder(await folder('picked'));
}

/** Does one thing, chosen at random, to a tree. */
async function doOne(fs: OpenFs, choices: readonly number[]): Promise<string> {
  const [kind = 0, a = 0, b = 0, at = 0, length = 0] = choices;
  const folders = ['', 'd1/', 'd2/', 'd1/d3/'];
  const path = `${folders[a % 4]}${'fgh'[a % 3]}`;
  const other = `${folders[b % 4]}${'fgh'[b % 3]}`;
  const directory = ['d1', 'd2', 'd1/d3'][b % 3] ?? 'd1';
  switch (kind) {
    case 0:
    case 1:
    case 2: {
      const file = await fs.open(path, {
        access: 'both',
        create: true,
        truncate: kind === 2,
        append: kind === 1,
      });
      await file.write(at, new Uint8Array(length).fill(1 + (at % 255)));
      const size = (await file.stat()).size;
      if (kind === 0) await file.sync();
      await file.close();
      return `${size}`;
    }
    case 3:
      return hashOf(await fs.readFile(path));
    case 4:
      return `${(await fs.change(path, { size: at, mode: 0o600 + (a % 64) })).size}`;
    case 5:
      return `${await fs.rename(path, other)}`;
    case 6:
      return `${await fs.unlink(path)}`;
    case 7:
      return `${await fs.mkdir(directory)}`;
    case 8:
      return `${await fs.rmdir(directory)}`;
    default: {
      const found = await fs.readdir(['/', 'd1', 'd2'][b % 3] ?? '/');
      return found
        .map((item) => item.name)
        .sort()
        .join(' ');
    }
  }
}

const tests = {
  async randomOperations({ seed, steps, kind }: { seed: number; steps: number; kind: 'named' | 'folder' }) {
    const tree = await openKind(kind);
    const ours = await mounted(tree);
    const model = await mounted(memoryFiles());
    const random = randomNumbers(seed);
    for (let step = 0; step < steps; step++) {
      const choices = [random(11), random(12), random(12), random(150_000), random(90_000)];
      const expected = await outcome(doOne(model, choices));
      const found = await outcome(doOne(ours, choices));
      if (found !== expected) return `step ${step}, ${choices}: ${found} where memory has ${expected}`;
    }
    await ours.close();
    await tree.close();
    return 'as in memory';
  },

  /** Everything that a file can have; then whatever was not synced may be lost. */
  async makeAndSync(): Promise<string> {
    await deleteBrowserFiles(name);
    const fs = await mounted(await openBrowserFiles(name));
    await fs.mkdir('folder', 0o1777);
    await fs.symlink('../nowhere', 'folder/link');
    await fs.mknod('folder/pipe', fileType.FIFO | 0o640);
    await fs.mknod('folder/device', fileType.CHARACTER | 0o600, 0x103);
    await fs.writeFile('folder/file', new Uint8Array(200_000).fill(7), 0o4711);
    await fs.change('folder/file', {
      uid: 12,
      gid: 34,
      mode: 0o4750,
      mtime: { seconds: -5, nanoseconds: 123_456_789 },
    });
    for (const odd of oddNames) await fs.writeFile(odd, new TextEncoder().encode(odd));
    await fs.sync();
    await fs.rename('folder/file', 'moved');
    const moved = await fs.open('moved', { access: 'write' });
    await moved.write(0, Uint8Array.of(1, 2, 3));
    await moved.sync();
    return 'synced';
  },

  async describe(): Promise<string[]> {
    // The browser takes the lock from a page that has crashed in its own time.
    await navigator.locks.request(`virtio-files:${name}`, () => {});
    const tree = await openBrowserFiles(name);
    const fs = await mounted(tree);
    const lines: string[] = [];
    const visit = async (path: string): Promise<void> => {
      const found = (await fs.readdir(path)).filter((item) => item.name !== '.' && item.name !== '..');
      for (const item of found.sort((one, two) => (one.name < two.name ? -1 : 1))) {
        const inside = path === '' ? item.name : `${path}/${item.name}`;
        const { mode, uid, gid, rdev, size, mtime, mtimensec } = await fs.stat(inside, { follow: false });
        const kind = mode & fileType.MASK;
        const content =
          kind === fileType.SYMLINK
            ? await fs.readlink(inside)
            : kind === fileType.REGULAR
              ? hashOf(await fs.readFile(inside))
              : `${rdev}`;
        const time = mtime < 1_000_000 ? ` ${mtime}.${mtimensec}` : '';
        lines.push(`${JSON.stringify(inside)} ${mode.toString(8)} ${uid}:${gid} ${size} ${content}${time}`);
        if (kind === fileType.DIRECTORY) await visit(inside);
      }
    };
    await visit('');
    await fs.close();
    await tree.close();
    return lines;
  },

  /** What lies in the browser's own folder. */
  async stored(): Promise<string[]> {
    const names: string[] = [];
    const home = await (await folder('virtio-files')).getDirectoryHandle(name);
    for await (const [stored] of home.entries()) names.push(stored);
    return names.sort();
  },

  async badNames(): Promise<string[]> {
    const tree = await openKind('named');
    const bad = ['..', '.', '', 'a/b', '/', 'a\0b'];
    const found: string[] = [];
    for (const one of bad) {
      found.push(await outcome(Promise.resolve(tree.makeDirectory(tree.root, one, 0o755, caller))));
      found.push(await outcome(openBrowserFiles(one)));
      found.push(await outcome(Promise.resolve(tree.lookup(tree.root, one))));
    }
    await tree.makeDirectory(tree.root, 'good', 0o755, caller);
    for (const one of bad) found.push(await outcome(tree.rename(tree.root, 'good', tree.root, one, plainly)));
    await tree.close();
    return [...new Set(found)].sort();
  },

  async unlinkedWhileOpen(): Promise<unknown> {
    const tree = await openKind('named');
    const fs = await mounted(tree);
    await fs.writeFile('file', Uint8Array.of(1, 2, 3));
    await fs.writeFile('other', Uint8Array.of(9));
    const file = await fs.open('file', { access: 'both' });
    const first = await file.read(0, 10);
    await fs.unlink('file');
    await file.write(3, Uint8Array.of(4));
    const second = await file.read(0, 10);
    const replaced = await fs.open('other');
    await fs.writeFile('new', Uint8Array.of(5, 5));
    await fs.rename('new', 'other');
    const old = await replaced.read(0, 10);
    const present = await fs.readFile('other');
    const hidden = (await tests.stored()).filter((stored) => stored.startsWith('.virtio-gone')).length;
    await file.close();
    await replaced.close();
    await fs.sync();
    const result = [first, second, old, present].map((bytes) => [...bytes]);
    await fs.close();
    await tree.close();
    return [...result, hidden, await tests.stored()];
  },

  /** The browser grants 8 MiB: more reads ENOSPC, and what is removed makes room again. */
  async fill(kind: 'named' | 'folder'): Promise<unknown> {
    const tree = await openKind(kind);
    const fs = await mounted(tree);
    const file = await fs.open('big', { access: 'write', create: true });
    const piece = new Uint8Array(2 ** 20);
    let said = 'no end';
    for (let at = 0; at < 64 && said === 'no end'; at++) {
      said = await file.write(at * 2 ** 20, piece).then(() => 'no end', codeOf);
    }
    if (said === 'no end') said = await file.sync().then(() => 'no end', codeOf);
    await file.close();
    await fs.unlink('big');
    await fs.writeFile('small', Uint8Array.of(1));
    await fs.close();
    await tree.close();
    return said;
  },

  /** What a snapshot has of some files, one of which is then put in another's place. */
  async save(): Promise<Json> {
    const tree = await openKind('named');
    const fs = await mounted(tree);
    await fs.mkdir('d');
    await fs.writeFile('d/kept', Uint8Array.of(1, 2, 3));
    await fs.writeFile('d/replaced', Uint8Array.of(4));
    await fs.writeFile('d/removed', Uint8Array.of(5));
    const directory = await tree.lookup(tree.root, 'd');
    if (directory === undefined) throw new Error('no directory');
    const states: Json[] = [tree.saveNode(tree.root), tree.saveNode(directory)];
    for (const child of ['kept', 'replaced', 'removed']) {
      const node = await tree.lookup(directory, child);
      if (node !== undefined) states.push(tree.saveNode(node));
    }
    await fs.unlink('d/removed');
    await fs.unlink('d/replaced');
    await fs.writeFile('d/replaced', Uint8Array.of(6));
    await fs.close();
    await tree.close();
    return states;
  },

  async restore(states: Json[]): Promise<string[]> {
    const tree = await openBrowserFiles(name);
    const nodes = states.map((state) => tree.restoreNode(state));
    const found: string[] = [];
    for (const node of nodes) {
      if (node === undefined) continue;
      const read = async (): Promise<number[]> => {
        const file = await tree.open(node, openFlag.RDONLY);
        const bytes = new Uint8Array(8);
        const count = await tree.read(file, 0, [bytes]);
        await tree.release(file);
        return [...bytes.subarray(0, count)];
      };
      const isDirectory = (node.mode & fileType.MASK) === fileType.DIRECTORY;
      const attributes = Promise.resolve(tree.attributes(node)).then(({ size }) => size);
      found.push(await outcome(isDirectory ? attributes : read()));
    }
    // Once looked for, the same file is the same object.
    const directory = nodes[1];
    const same = directory && (await tree.lookup(directory, 'kept')) === nodes[2];
    await tree.close();
    return [...found, `${same}`, `${tree.restoreNode(null)}`, `${tree.restoreNode([['x', 1]])}`];
  },

  async hold(): Promise<string> {
    try {
      held = await openBrowserFiles(name);
      return 'held';
    } catch (error) {
      return codeOf(error);
    }
  },

  remove: () => deleteBrowserFiles(name).then(() => 'removed', codeOf),

  async letGo(): Promise<string> {
    await held?.close();
    return 'let go';
  },
};

const plainly = { exchange: false, noreplace: false, whiteout: false } as const;

/** Names that have something about them: our own, one for Windows, no text, the longest. */
const oddNames = [
  '.virtio-record',
  '.virtio-name-x',
  'a:b*?"<>|\\',
  'dot.',
  'x.crswap',
  'ünïcödé \u{1f600}',
  decodeName(Uint8Array.of(0x6e, 0xff, 0xfe, 0x0a)),
  'x'.repeat(255),
];

Object.assign(globalThis, { tests });
