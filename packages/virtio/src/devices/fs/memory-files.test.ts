import { describe, expect, it } from 'vitest';
import { type MemoryFiles, memoryFiles } from './memory-files.ts';
import type { Inode } from './memory-inode.ts';
import { SparseBytes } from './sparse-bytes.ts';
import { fileType, openFlag } from './spec-fuse.ts';

const me = { uid: 1, gid: 2, pid: 3 };
const plainly = { exchange: false, noreplace: false, whiteout: false };
const encode = (text: string): Uint8Array => Uint8Array.from(text, (unit) => unit.charCodeAt(0));

function found(files: MemoryFiles, name: string, directory: Inode = files.root): Inode {
  const inode = files.lookup(directory, name);
  if (inode === undefined) throw new Error(`${name} is not there`);
  return inode;
}

describe('bytes of a file', () => {
  it('agree with a plain buffer, whatever is done to them', () => {
    let room = 0;
    const sparse = new SparseBytes((bytes) => {
      room += bytes;
    });
    const model = new Uint8Array(300_000);
    let size = 0;
    let seed = 5;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    for (let round = 0; round < 400; round++) {
      const offset = random(250_000);
      const length = 1 + random(40_000);
      const kind = random(6);
      if (kind < 3) {
        const bytes = new Uint8Array(length).fill(1 + (round % 255));
        sparse.write(offset, bytes);
        model.set(bytes, offset);
        size = Math.max(size, offset + length);
      } else if (kind === 3) {
        sparse.setSize(offset);
        model.fill(0, offset);
        size = offset;
      } else if (kind === 4) {
        sparse.clear(offset, Math.min(size, offset + length));
        if (offset < size) model.fill(0, offset, Math.min(size, offset + length));
      } else {
        sparse.allocate(offset, offset + length);
      }
      expect(sparse.size).toBe(size);
      expect(sparse.room).toBe(room);
      const from = random(size + 1);
      const target = new Uint8Array(random(50_000));
      const count = sparse.read(from, target);
      expect(count).toBe(Math.min(target.length, size - from));
      expect(Buffer.from(target.subarray(0, count)).equals(model.subarray(from, from + count))).toBe(true);
      // Whatever is no data is 0.
      const hole = sparse.seek(from, 'hole');
      const data = sparse.seek(from, 'data');
      if (from < size) expect(hole).toBeLessThanOrEqual(size);
      const zeroes = model.subarray(from, data ?? size);
      expect(zeroes.every((byte) => byte === 0)).toBe(true);
    }
    sparse.setSize(0);
    expect(room).toBe(0);
  });

  it('that were never written take no room, however far they are', () => {
    const sparse = new SparseBytes(() => {});
    sparse.write(2 ** 50, Uint8Array.of(1));
    expect(sparse.room).toBe(65_536);
    expect([sparse.seek(0, 'data'), sparse.seek(0, 'hole')]).toEqual([2 ** 50, 0]);
    sparse.setSize(2 ** 53 - 1);
    sparse.setSize(0);
    expect(sparse.room).toBe(0);
  });
});

describe('files in memory', () => {
  it('have links, counts and rules of renaming as POSIX has them', () => {
    const files = memoryFiles();
    files.writeFile('/a', 'a');
    files.writeFile('/dir/sub/x', 'x');
    const [a, dir] = [found(files, 'a'), found(files, 'dir')];
    const sub = found(files, 'sub', dir);
    expect([files.root.nlink, dir.nlink, sub.nlink]).toEqual([3, 3, 2]);
    files.link(a, dir, 'again');
    expect(a.nlink).toBe(2);
    // Two names of one file: nothing happens.
    files.rename(files.root, 'a', dir, 'again', plainly, me);
    expect([files.list('/'), a.nlink]).toEqual([['a', 'dir'], 2]);
    expect(() => files.rename(files.root, 'dir', sub, 'in itself', plainly, me)).toThrow('EINVAL');
    expect(() => files.rename(files.root, 'a', files.root, 'dir', plainly, me)).toThrow('EISDIR');
    expect(() => files.rename(files.root, 'dir', files.root, 'a', plainly, me)).toThrow('ENOTDIR');
    files.makeDirectory(files.root, 'other', 0o755, me);
    expect(() => files.rename(files.root, 'other', files.root, 'dir', plainly, me)).toThrow('ENOTEMPTY');
    files.rename(dir, 'sub', files.root, 'other', plainly, me);
    expect([dir.nlink, files.root.nlink, sub.parent]).toEqual([2, 4, files.root]);
    files.rename(files.root, 'a', dir, 'b', { ...plainly, whiteout: true }, me);
    expect(files.stat('a')).toMatchObject({ mode: fileType.CHARACTER });
    expect(() => files.link(dir, files.root, 'directory')).toThrow('EPERM');
    expect(() => files.unlink(files.root, 'dir')).toThrow('EISDIR');
    expect(() => files.removeDirectory(files.root, 'a')).toThrow('ENOTDIR');
  });

  it('swap names, of directories too, but never into themselves', () => {
    const files = memoryFiles();
    files.writeFile('/dir/in', 'in');
    files.writeFile('/file', 'file');
    const dir = found(files, 'dir');
    files.makeDirectory(dir, 'sub', 0o755, me);
    const exchange = { ...plainly, exchange: true };
    files.rename(files.root, 'dir', files.root, 'file', exchange, me);
    expect([files.list('file'), files.stat('dir').size]).toEqual([['in', 'sub'], 4]);
    expect(() => files.rename(files.root, 'file', dir, 'sub', exchange, me)).toThrow('EINVAL');
    expect(() => files.rename(files.root, 'nothing', dir, 'sub', exchange, me)).toThrow('ENOENT');
  });

  it('live as long as they are known, open, or have a name, and give back all their room', () => {
    const files = memoryFiles();
    const empty = files.usedBytes;
    const { entry, file } = files.create(files.root, 'x', fileType.REGULAR | 0o644, openFlag.RDWR, me);
    files.write(file, 0, [new Uint8Array(100_000)], false);
    files.setXattr(entry.node, 'user.x', encode('value'), {
      create: false,
      replace: false,
      killGroup: false,
    });
    files.unlink(files.root, 'x');
    expect(entry.attributes.nlink).toBe(0);
    expect(() => files.link(entry.node, files.root, 'back')).toThrow('ENOENT');
    files.forget(entry.node, 1);
    expect(files.read(file, 0, [new Uint8Array(10)])).toBe(10);
    files.release(file);
    expect([files.fileCount, files.usedBytes]).toEqual([1, empty]);
    const temporary = files.temporary(files.root, fileType.REGULAR | 0o600, openFlag.RDWR, me);
    files.link(temporary.entry.node, files.root, 'named');
    expect(files.stat('named').nlink).toBe(1);
  });

  it('take no more room than there is, and fail with ENOSPC', () => {
    const files = memoryFiles({ capacity: 200_000, files: 5 });
    const { file } = files.create(files.root, 'x', fileType.REGULAR | 0o644, openFlag.RDWR, me);
    expect(
      files.write(file, 0, [new Uint8Array(65_536), new Uint8Array(65_536), new Uint8Array(200_000)], false),
    ).toBe(131_072);
    expect(() => files.write(file, 131_072, [new Uint8Array(100_000)], false)).toThrow('ENOSPC');
    const huge = { kind: 'allocate', keepSize: true } as const;
    expect(() => files.allocate(file, 0, 2 ** 50, huge)).toThrow('ENOSPC');
    for (let i = 0; i < 3; i++) files.makeDirectory(files.root, `${i}`, 0o755, me);
    expect(() => files.makeDirectory(files.root, 'more', 0o755, me)).toThrow('ENOSPC');
    expect(files.statistics().ffree).toBe(0);
    expect(files.list()).toEqual(['x', '0', '1', '2']);
  });

  it('list names in an order that what changes meanwhile does not upset', () => {
    const files = memoryFiles();
    const names = Array.from({ length: 40 }, (_, index) => `${index}`);
    for (const name of names) files.writeFile(name, '');
    const file = files.openDirectory(files.root);
    const seen: string[] = [];
    let offset = 0;
    for (let round = 0; ; round++) {
      const before = seen.length;
      let room = 7;
      files.readDirectory(file, offset, {
        add(name, _ino, _type, next) {
          if (room-- === 0) return false;
          seen.push(name);
          offset = next;
          return true;
        },
      });
      if (seen.length === before) break;
      // One that came, one that is to come, and a new one.
      if (round < 3) {
        files.remove(`${round}`);
        files.remove(`${39 - round}`);
        files.writeFile(`new ${round}`, '');
      }
    }
    const gone = ['37', '38', '39'];
    const expected = ['.', '..', ...names.filter((name) => !gone.includes(name)), 'new 0', 'new 1', 'new 2'];
    expect(seen).toEqual(expected);
  });

  it('give what is made in a directory its group where the directory says so', () => {
    const files = memoryFiles();
    const dir = files.makeDirectory(files.root, 'shared', 0o2775, { uid: 0, gid: 50, pid: 0 });
    const file = files.makeNode(dir, 'file', fileType.REGULAR | 0o644, 0, me);
    const sub = files.makeDirectory(dir, 'sub', 0o755, me);
    expect([file.uid, file.gid, sub.gid, sub.mode & 0o7777]).toEqual([1, 50, 50, 0o2755]);
  });

  it('lose the power to run as another when they are written to', () => {
    const files = memoryFiles();
    const { entry, file } = files.create(files.root, 'x', fileType.REGULAR | 0o6755, openFlag.RDWR, me);
    files.write(file, 0, [Uint8Array.of(1)], false);
    expect(entry.node.mode & 0o7777).toBe(0o6755);
    files.write(file, 0, [Uint8Array.of(1)], true);
    expect(entry.node.mode & 0o7777).toBe(0o755);
  });

  it('keep the times of a clock', () => {
    let now = 1_000_500;
    const files = memoryFiles({ now: () => now });
    files.writeFile('x', 'x');
    const inode = found(files, 'x');
    expect([inode.mtime, inode.mtimensec]).toEqual([1000, 500_000_000]);
    now = 2_000_000;
    const file = files.open(inode, openFlag.RDONLY);
    files.read(file, 0, [new Uint8Array(1)]);
    expect([inode.atime, inode.mtime, inode.ctime]).toEqual([2000, 1000, 1000]);
    files.setAttributes(inode, { atime: { seconds: -5, nanoseconds: 1 }, mtime: 'now' });
    expect([inode.atime, inode.mtime, inode.ctime]).toEqual([-5, 2000, 2000]);
  });
});
