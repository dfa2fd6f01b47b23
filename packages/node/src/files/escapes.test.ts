import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Caller } from 'virtio/devices/fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { list, root, TemporaryFolder, walk } from './folder.fixture.ts';
import { type FolderTree, type ShareOptions, shareFolder } from './index.ts';

const isRoot = process.geteuid?.() === 0;
const S = { IFCHR: 0o020000, IFBLK: 0o060000, IFLNK: 0o120000, IFDIR: 0o040000 } as const;

/** What is shared is a folder of it; beside that is what nobody may see. */
let folder: TemporaryFolder;
const trees: FolderTree[] = [];

function share(options: ShareOptions = {}, path: string = folder.at('shared')): FolderTree {
  const tree = shareFolder(path, options);
  trees.push(tree);
  return tree;
}

const code = (name: string): unknown => expect.objectContaining({ name: 'FsError', code: name });

beforeEach(() => {
  folder = new TemporaryFolder();
  mkdirSync(folder.at('shared'));
  writeFileSync(folder.at('secret'), 'secret');
});
afterEach(() => {
  for (const tree of trees.splice(0)) tree.close();
  folder.remove();
});

describe('there is no way out of a shared folder', () => {
  it('by symbolic links, which are for the guest to follow', () => {
    symlinkSync('..', folder.at('shared', 'up'));
    symlinkSync(folder.at('secret'), folder.at('shared', 'secret'));
    symlinkSync('/proc/self/fd', folder.at('shared', 'magic'));
    const tree = share();
    for (const name of ['up', 'secret', 'magic']) {
      const node = walk(tree, name);
      expect(tree.attributes(node, undefined).mode & 0o170000).toBe(S.IFLNK);
      expect(() => tree.lookup(node, 'secret')).toThrow(code('ENOTDIR'));
      expect(() => tree.openDirectory(node)).toThrow(code('ENOTDIR'));
      expect(() => tree.open(node, 0)).toThrow(code('EACCES'));
      expect(() => tree.create(node, 'new', 0o600, 2, root)).toThrow(code('ENOTDIR'));
      expect(() => tree.setAttributes(node, { size: 0 }, undefined)).toThrow(code('EINVAL'));
      tree.setAttributes(node, { mtime: { seconds: 5, nanoseconds: 0 } }, undefined);
      expect(lstatSync(folder.at('shared', name)).mtimeMs).toBe(5000);
    }
    // A link that is in the way is opened by nobody.
    expect(() => tree.create(tree.root, 'secret', 0o600, 2, root)).toThrow(code('EACCES'));
    tree.link(walk(tree, 'secret'), tree.root, 'again');
    expect(lstatSync(folder.at('shared', 'again')).isSymbolicLink()).toBe(true);
    expect(readFileSync(folder.at('secret'), 'utf8')).toBe('secret');
    expect(lstatSync(folder.at('secret')).mtimeMs).not.toBe(5000);
  });

  it('by names that are no names, though the device lets none of them come here', () => {
    mkdirSync(folder.at('shared', 'a'));
    const tree = share();
    const inside = walk(tree, 'a');
    for (const name of ['../secret', '../../secret', folder.at('secret'), '/']) {
      expect(() => tree.lookup(tree.root, name)).toThrow(code('EACCES'));
      expect(() => tree.create(inside, name, 0o600, 0, root)).toThrow();
    }
    expect(() => tree.lookup(tree.root, '..')).toThrow(code('EACCES'));
    expect(walk(tree, 'a')).toBe(inside);
  });

  it('by the listing of the root, which does not tell what is above', () => {
    const tree = share();
    const above = lstatSync(folder.path).ino;
    const inodes: number[] = [];
    const directory = tree.openDirectory(tree.root);
    tree.readDirectory(directory, 0, { add: (_name, ino) => inodes.push(ino) > 0 });
    expect(inodes.length).toBe(2);
    expect(inodes).not.toContain(above);
  });

  it('by a name that is a directory and a link in turns', async () => {
    mkdirSync(folder.at('shared', 'x'));
    writeFileSync(folder.at('shared', 'x', 'inside'), '');
    symlinkSync('..', folder.at('shared', 'link'));
    const script = `const { renameSync } = require('fs');
      const move = (from, to) => renameSync('${folder.at('shared')}/' + from, '${folder.at('shared')}/' + to);
      console.log('started');
      for (;;) { move('x', 'other'); move('link', 'x'); move('x', 'link'); move('other', 'x'); }`;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await once(child.stdout, 'data');
      const tree = share();
      const seen = { directory: 0, link: 0 };
      while (seen.directory < 300 || seen.link < 300) {
        const found = tree.lookup(tree.root, 'x');
        if (found === undefined) continue;
        const { node } = found;
        if (node.type === S.IFLNK) {
          seen.link++;
          expect(() => tree.lookup(node, 'secret')).toThrow(code('ENOTDIR'));
        } else {
          seen.directory++;
          expect(tree.lookup(node, 'secret')).toBeUndefined();
          expect(list(tree, node, 9)).toEqual(['inside']);
        }
      }
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });

  it('by devices, pipes and sockets: none is made, none is opened', async () => {
    const server = createServer();
    await once(server.listen(folder.at('shared', 'socket')), 'listening');
    const tree = share();
    for (const type of [S.IFCHR, S.IFBLK]) {
      expect(() => tree.makeNode(tree.root, 'device', type | 0o600, 0x103, root)).toThrow(code('EPERM'));
    }
    const whiteout = { exchange: false, noreplace: false, whiteout: true };
    expect(() => tree.rename(tree.root, 'socket', tree.root, 'b', whiteout)).toThrow(code('EINVAL'));
    const pipe = tree.makeNode(tree.root, 'pipe', 0o010600, 0, root);
    for (const node of [pipe.node, walk(tree, 'socket')]) {
      for (const flags of [0, 1, 2]) expect(() => tree.open(node, flags)).toThrow(code('EACCES'));
    }
    expect(() => tree.create(tree.root, 'pipe', 0o600, 1, root)).toThrow(code('EACCES'));
    server.close();
    const devices = share({}, '/dev');
    expect(() => devices.open(walk(devices, 'null'), 1)).toThrow(code('EACCES'));
  });

  it('by mounts, unless they may be entered', () => {
    const closed = share({ readOnly: true }, '/');
    expect(() => closed.lookup(closed.root, 'proc')).toThrow(code('EACCES'));
    const open = share({ readOnly: true, mounts: 'enter' }, '/');
    const { attributes, node } = open.lookup(open.root, 'proc')!;
    expect(attributes.submount).toBe(true);
    const version = open.lookup(node, 'version')!;
    expect(version.attributes.submount).toBe(false);
    expect(open.lookup(open.root, 'etc')!.attributes.submount).toBe(false);
  });
});

describe('who owns what', () => {
  const other: Caller = { uid: 1234, gid: 5678, pid: 1 };

  it.skipIf(!isRoot)('is as the guest says, for root', () => {
    const tree = share();
    const { attributes, node } = tree.makeDirectory(tree.root, 'd', 0o2777, other);
    expect([attributes.uid, attributes.gid]).toEqual([1234, 5678]);
    const inner = tree.create(node, 'f', 0o4755, 2, { ...other, gid: 99 });
    // The directory hands its group down.
    expect(inner.entry.attributes).toMatchObject({ uid: 1234, gid: 5678, mode: 0o104755 });
    expect(tree.setAttributes(node, { uid: 0, gid: 7 }, undefined)).toMatchObject({ uid: 0, gid: 7 });
    expect(tree.symlink(tree.root, 'l', 'x', other).attributes).toMatchObject({ uid: 1234, gid: 5678 });
  });

  it.skipIf(!isRoot)('is shifted by ranges; who is in none is nobody, or whoever stands for him', () => {
    const range = [{ guest: 0, host: 100_000, count: 1000 }];
    const tree = share({ ids: { users: range, groups: range } });
    const made = tree.makeDirectory(tree.root, 'd', 0o755, { uid: 5, gid: 6, pid: 1 });
    expect(made.attributes).toMatchObject({ uid: 5, gid: 6 });
    expect(lstatSync(folder.at('shared', 'd'))).toMatchObject({ uid: 100_005, gid: 100_006 });
    expect(tree.attributes(tree.root, undefined)).toMatchObject({ uid: 65_534, gid: 65_534 });
    expect(() => tree.makeDirectory(tree.root, 'e', 0o755, other)).toThrow(code('EPERM'));
    expect(() => tree.setAttributes(made.node, { uid: 1234 }, undefined)).toThrow(code('EPERM'));
    const squash = { user: 200, group: 300 };
    const squashed = share({ ids: { users: range, groups: range, squash } });
    squashed.makeDirectory(squashed.root, 'e', 0o755, other);
    expect(lstatSync(folder.at('shared', 'e'))).toMatchObject({ uid: 200, gid: 300 });
  });

  it('is refused in ranges that overlap', () => {
    const users = [
      { guest: 0, host: 0, count: 10 },
      { guest: 9, host: 100, count: 1 },
    ];
    expect(() => share({ ids: { users } })).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });
});
