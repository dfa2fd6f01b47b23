import { spawnSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import type { Json } from 'virtio/device';
import { decodeName } from 'virtio/devices/fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { list, root, TemporaryFolder, walk } from './folder.fixture.ts';
import { type FolderTree, type ShareOptions, shareFolder } from './index.ts';
import type { Inode } from './inodes.ts';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const openFlag = { RDONLY: 0, WRONLY: 1, RDWR: 2, EXCL: 0o200, TRUNC: 0o1000, APPEND: 0o2000 } as const;
const regular = 0o100000;

let folder: TemporaryFolder;
const trees: FolderTree[] = [];

function share(options: ShareOptions = {}, path: string = folder.path): FolderTree {
  const tree = shareFolder(path, options);
  trees.push(tree);
  return tree;
}

function readAll(tree: FolderTree, ...names: string[]): string {
  const file = tree.open(walk(tree, ...names), openFlag.RDONLY);
  const target = new Uint8Array(100);
  const count = tree.read(file, 0, [target.subarray(0, 3), target.subarray(3)]) ?? Number.NaN;
  tree.release(file);
  return new TextDecoder().decode(target.subarray(0, count));
}

beforeEach(() => {
  folder = new TemporaryFolder();
});
afterEach(() => {
  for (const tree of trees.splice(0)) tree.close();
  folder.remove();
});

describe('a shared folder', () => {
  it('shows what is in it', () => {
    mkdirSync(folder.at('a'));
    writeFileSync(folder.at('a', 'file'), 'content', { mode: 0o640 });
    utimesSync(folder.at('a', 'file'), 1.5, 3);
    symlinkSync('../elsewhere', folder.at('a', 'link'));
    const tree = share();
    const stats = statSync(folder.at('a', 'file'));
    const node = walk(tree, 'a', 'file');
    expect(tree.attributes(node, undefined)).toMatchObject({
      ...{ ino: stats.ino, mode: stats.mode, nlink: 1, size: 7, blocks: stats.blocks },
      ...{ atime: 1, atimensec: 500_000_000, mtime: 3, mtimensec: 0, submount: false },
    });
    expect(walk(tree, 'a', 'file')).toBe(node);
    expect(tree.readLink(walk(tree, 'a', 'link'))).toBe('../elsewhere');
    expect(tree.lookup(tree.root, 'b')).toBeUndefined();
    expect(() => tree.lookup(node, 'b')).toThrow(expect.objectContaining({ code: 'ENOTDIR' }));
    expect(list(tree, walk(tree, 'a'), 1)).toEqual(expect.arrayContaining(['file', 'link']));
    expect(readAll(tree, 'a', 'file')).toBe('content');
    const { bsize, blocks, namelen } = tree.statistics(tree.root);
    expect([bsize > 0, blocks > 0, namelen]).toEqual([true, true, 255]);
  });

  it('is changed by a guest as by a program of the host', async () => {
    const tree = share();
    const { node } = tree.makeDirectory(tree.root, 'a', 0o1777, root);
    const made = tree.create(node, 'file', regular | 0o666, openFlag.RDWR, root);
    expect(made.entry.attributes.mode).toBe(regular | 0o666);
    const { file } = made;
    expect(tree.write(file, 2, [text('ab'), new Uint8Array(0), text('cde')], false)).toBe(5);
    await tree.fsync(file, false);
    await tree.syncAll(tree.root);
    expect(readFileSync(folder.at('a', 'file'), 'latin1')).toBe('\0\0abcde');
    expect(
      tree.setAttributes(
        made.entry.node,
        { size: 4, mode: 0o4711, mtime: { seconds: -5, nanoseconds: 7 }, atime: 'now' },
        file,
      ),
    ).toMatchObject({ size: 4, mode: regular | 0o4711, mtime: -5, mtimensec: 7 });
    tree.write(file, 0, [text('x')], true);
    expect(statSync(folder.at('a', 'file')).mode).toBe(regular | 0o711);
    expect(tree.link(made.entry.node, tree.root, 'other').attributes.nlink).toBe(2);
    const plain = { exchange: false, noreplace: false, whiteout: false };
    expect(() => tree.rename(node, 'file', tree.root, 'other', { ...plain, noreplace: true })).toThrow(
      expect.objectContaining({ code: 'EEXIST' }),
    );
    tree.rename(node, 'file', tree.root, 'moved', plain);
    tree.unlink(tree.root, 'other');
    tree.removeDirectory(tree.root, 'a');
    expect(list(tree, tree.root, 9)).toEqual(['moved']);
    tree.symlink(tree.root, 'link', '/etc/passwd', root);
    expect(readlinkSync(folder.at('link'))).toBe('/etc/passwd');
    tree.makeNode(tree.root, 'pipe', 0o010600, 0, root);
    expect(lstatSync(folder.at('pipe')).isFIFO()).toBe(true);
    tree.release(file);
  });

  it('opens what is there, makes what is not, appends and cuts', () => {
    const tree = share();
    writeFileSync(folder.at('file'), 'one');
    const mode = regular | 0o600;
    expect(() => tree.create(tree.root, 'file', mode, openFlag.EXCL, root)).toThrow(
      expect.objectContaining({ code: 'EEXIST' }),
    );
    const { file, entry } = tree.create(tree.root, 'file', mode, openFlag.WRONLY | openFlag.APPEND, root);
    expect(entry.node).toBe(walk(tree, 'file'));
    tree.write(file, 0, [text('two')], false);
    tree.release(file);
    expect(readAll(tree, 'file')).toBe('onetwo');
    tree.release(tree.open(entry.node, openFlag.RDWR | openFlag.TRUNC));
    expect(readAll(tree, 'file')).toBe('');
    const temporary = tree.temporary(tree.root, mode, openFlag.RDWR, root);
    tree.write(temporary.file, 0, [text('late')], false);
    expect(list(tree, tree.root, 9)).toEqual(['file']);
    tree.link(temporary.entry.node, tree.root, 'named');
    expect(readAll(tree, 'named')).toBe('late');
  });

  it('makes room and holes, finds them, and copies on the host', () => {
    const tree = share();
    const { file } = tree.create(tree.root, 'a', regular | 0o600, openFlag.RDWR, root);
    const other = tree.create(tree.root, 'b', regular | 0o600, openFlag.RDWR, root).file;
    tree.write(file, 0, [new Uint8Array(300_000).fill(1)], false);
    tree.allocate(file, 65_536, 65_536, { kind: 'punch', keepSize: true });
    expect(tree.seek(file, 0, 'hole')).toBe(65_536);
    expect(tree.seek(file, 65_536, 'data')).toBe(131_072);
    expect(() => tree.seek(file, 300_000, 'data')).toThrow(expect.objectContaining({ code: 'ENXIO' }));
    tree.allocate(file, 0, 400_000, { kind: 'allocate', keepSize: false });
    expect(statSync(folder.at('a')).size).toBe(400_000);
    expect(tree.copyRange(file, 131_072, other, 5, 1000)).toBe(1000);
    expect(readFileSync(folder.at('b')).subarray(4, 7)).toEqual(Buffer.from([0, 1, 1]));
  });

  it('reads at once what is in memory, and later what the disk has to be asked for', async () => {
    const content = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 251));
    writeFileSync(folder.at('file'), content);
    const tree = share();
    const file = tree.open(walk(tree, 'file'), openFlag.RDONLY);
    const target = new Uint8Array(200_000);
    expect(tree.read(file, 0, [target])).toBe(content.length);
    spawnSync('dd', [`if=${folder.at('file')}`, 'of=/dev/null', 'iflag=nocache', 'count=0']);
    // Not every file system can tell, and not every one forgets.
    expect([undefined, content.length]).toContain(tree.read(file, 0, [target.fill(0)]));
    const later = tree.readLater(file, 50_000, target.fill(0));
    tree.release(file);
    expect(await later).toBe(50_000);
    expect(Buffer.compare(target.subarray(0, 50_000), content.subarray(50_000))).toBe(0);
  });

  it('gives every entry of a large directory once, in pieces, and goes back', () => {
    const nameOf = (i: number): string => `${'a long name '.repeat(18)}${i}`;
    writeFileSync(folder.at(nameOf(0)), '');
    for (let i = 1; i < 500; i++) linkSync(folder.at(nameOf(0)), folder.at(nameOf(i)));
    const tree = share();
    const names = list(tree, tree.root, 97);
    expect(new Set(names).size).toBe(500);
    expect(names.length).toBe(500);
    const directory = tree.openDirectory(tree.root);
    const places: string[] = [];
    const from = (offset: number, most: number): string[] => {
      const found: string[] = [];
      tree.readDirectory(directory, offset, {
        add: (name, _ino, _type, next) => {
          if (found.length === most) return false;
          found.push(name);
          places[next] = name;
          return true;
        },
      });
      return found;
    };
    from(0, 5000);
    for (const offset of [450, 10, 300, 299, 499]) {
      expect(from(offset, 5)).toEqual(places.slice(offset + 1, offset + 6));
    }
    expect(from(502, 5)).toEqual([]);
    rmSync(folder.at(nameOf(7)));
    expect(from(0, 5000).length).toBe(501);
  });

  it('passes names on that are no text', () => {
    const name = Buffer.concat([Buffer.from(`${folder.path}/`), Buffer.from([0x66, 0xff, 0xe2, 0x82, 0xac])]);
    writeFileSync(name, 'bytes');
    const tree = share();
    expect(list(tree, tree.root, 5)).toEqual(['f\udcff€']);
    expect(readAll(tree, 'f\udcff€')).toBe('bytes');
    tree.makeDirectory(tree.root, 'ü\udc80', 0o700, root);
    expect(existsSync(Buffer.concat([Buffer.from(`${folder.path}/ü`), Buffer.from([0x80])]))).toBe(true);
  });

  it('lets a guest have attributes of users alone, and only where it is told to', () => {
    expect(share().getXattr).toBeUndefined();
    const tree = share({ xattrs: true });
    writeFileSync(folder.at('file'), '');
    const node = walk(tree, 'file');
    const how = { create: true, replace: false };
    tree.setXattr?.(node, 'user.a', text('value'), { ...how, killGroup: false }, root);
    expect(tree.getXattr?.(node, 'user.a')).toEqual(text('value'));
    expect(tree.getXattr?.(node, 'user.b')).toBeUndefined();
    expect(tree.listXattrs?.(node)).toEqual(['user.a']);
    expect(() => tree.setXattr?.(node, 'user.a', text('x'), { ...how, killGroup: false }, root)).toThrow(
      expect.objectContaining({ code: 'EEXIST' }),
    );
    for (const name of ['trusted.a', 'security.capability', 'system.posix_acl_access']) {
      const set = (): unknown => tree.setXattr?.(node, name, text('x'), { ...how, killGroup: false }, root);
      expect(set).toThrow(expect.objectContaining({ code: 'EOPNOTSUPP' }));
    }
    tree.removeXattr?.(node, 'user.a', root);
    expect(tree.listXattrs?.(node)).toEqual([]);
  });

  it('is not changed by a guest that may only read', () => {
    writeFileSync(folder.at('file'), 'same');
    const tree = share({ readOnly: true });
    for (const flags of [openFlag.WRONLY, openFlag.RDWR, openFlag.TRUNC]) {
      expect(() => tree.open(walk(tree, 'file'), flags)).toThrow(expect.objectContaining({ code: 'EROFS' }));
    }
    expect(readAll(tree, 'file')).toBe('same');
  });

  it('says what a guest may remember, by the names of virtiofsd', () => {
    const of = (cache: ShareOptions['cache'] & string): unknown => {
      const tree = share({ cache });
      return [tree.cache.entrySeconds, tree.cache.data, tree.openDirectory(tree.root).dataCache];
    };
    expect(of('never')).toEqual([0, 'none', 'drop']);
    expect(of('metadata')).toEqual([86_400, 'none', 'keep']);
    expect(of('auto')).toEqual([1, 'drop', 'drop']);
    expect(of('always')).toEqual([86_400, 'keep', 'keep']);
    expect(share({ cache: 'always', writeback: true }).cache.writeback).toBe(true);
  });

  it('is refused where there is none', () => {
    writeFileSync(folder.at('file'), '');
    expect(() => share({}, folder.at('nowhere'))).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    expect(() => share({}, folder.at('file'))).toThrow(expect.objectContaining({ code: 'IO_ERROR' }));
  });

  it('reads what has no name any more, and keeps no descriptor of what is forgotten', () => {
    writeFileSync(folder.at('file'), 'kept');
    const tree = share();
    const node = walk(tree, 'file');
    const file = tree.open(node, openFlag.RDWR);
    tree.unlink(tree.root, 'file');
    truncateSync(`/proc/self/fd/${file.fd}`, 2);
    expect(tree.attributes(node, undefined)).toMatchObject({ nlink: 0, size: 2 });
    tree.release(file);
    tree.forget(node, 1);
    expect(node.fd).toBe(-1);
  });
});

describe('a snapshot of a shared folder', () => {
  const saved = (tree: FolderTree, ...names: string[]): Json =>
    JSON.parse(JSON.stringify(tree.saveNode(walk(tree, ...names))));

  it('finds files again by their names, in this share and in another of the folder', () => {
    const odd = decodeName(Uint8Array.of(0x61, 0xff, 0x20));
    mkdirSync(folder.at('a'));
    const tree = share();
    const { node } = tree.create(walk(tree, 'a'), odd, 0o644, openFlag.RDWR, root).entry;
    const states = [saved(tree, 'a'), saved(tree, 'a', odd)];
    expect(states.map((state) => tree.restoreNode(state))).toEqual([walk(tree, 'a'), node]);
    const other = share({ readOnly: true });
    const [directory, file] = states.map((state) => other.restoreNode(state));
    expect([directory, file]).toEqual([walk(other, 'a'), walk(other, 'a', odd)]);
  });

  it('never takes another file for one that is gone', () => {
    mkdirSync(folder.at('a'));
    for (const name of ['removed', 'replaced', 'moved', 'lost']) writeFileSync(folder.at('a', name), name);
    const tree = share();
    const states = ['removed', 'replaced', 'moved'].map((name) => saved(tree, 'a', name));
    const lost = walk(tree, 'a', 'lost');
    rmSync(folder.at('a', 'lost'));
    rmSync(folder.at('a', 'removed'));
    rmSync(folder.at('a', 'replaced'));
    // A file system may give the same number again at once.
    for (let i = 0; i < 8; i++) writeFileSync(folder.at('a', i === 7 ? 'replaced' : `filler${i}`), 'other');
    symlinkSync('/etc', folder.at('out'));
    const identity = Object(states[2])[1];
    const forged = [
      null,
      5,
      [],
      [[], identity],
      [['..'], identity],
      [['a', '..', 'a'], identity],
      [['out', 'passwd'], identity],
    ];
    const other = share();
    const open = (): number => readdirSync('/proc/self/fd').length;
    const before = open();
    for (const state of [...states.slice(0, 2), tree.saveNode(lost), ...forged]) {
      expect(other.restoreNode(state)).toBeUndefined();
    }
    renameSync(folder.at('a', 'moved'), folder.at('a', 'elsewhere'));
    expect(other.restoreNode(states[2] ?? null)).toBeUndefined();
    expect(open()).toBe(before);
    expect(saved(tree, 'a', 'elsewhere')).toMatchObject([['a', 'elsewhere'], identity]);
  });
});

describe('a share with few descriptors', () => {
  it('lets go of files that a guest knows of, and finds them again, or says that it has no more', () => {
    mkdirSync(folder.at('many'));
    for (let i = 0; i < 200; i++) writeFileSync(folder.at('many', `${i}`), `file ${i}`);
    const tree = share({ descriptors: 64 });
    let nodes: Inode[];
    try {
      nodes = Array.from({ length: 200 }, (_, i) => walk(tree, 'many', `${i}`));
    } catch (error) {
      // A process that may not find files by their handles.
      expect(error).toMatchObject({ code: 'ENFILE' });
      return;
    }
    expect(nodes.filter(({ fd }) => fd >= 0).length).toBeLessThan(64);
    for (const i of nodes.keys()) expect(readAll(tree, 'many', `${i}`)).toBe(`file ${i}`);
    for (const [i, node] of nodes.entries()) expect(walk(tree, 'many', `${i}`)).toBe(node);
    // One that is gone is stale, whoever has its number by now.
    const gone = nodes.find(({ fd }) => fd < 0)!;
    const name = `${nodes.indexOf(gone)}`;
    rmSync(folder.at('many', name));
    writeFileSync(folder.at('many', name), 'another');
    expect(() => tree.attributes(gone, undefined)).toThrow(expect.objectContaining({ code: 'ESTALE' }));
    expect(readAll(tree, 'many', name)).toBe('another');
  });
});
