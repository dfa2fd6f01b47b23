import { describe, expect, it } from 'vitest';
import { restoreDevice, saveDevice } from '../../device/saving.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { fsDevice } from './device.ts';
import type { FileTree } from './file-tree.ts';
import { type MemoryFiles, memoryFiles } from './memory-files.ts';
import type { Inode, MemoryFile } from './memory-inode.ts';
import { RawGuest } from './raw-guest.fixture.ts';
import { fileType, initFlag, openFlag, openReply } from './spec-fuse.ts';
import * as fuse from './spec-fuse-structs.ts';

const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

const files = (): MemoryFiles => {
  const made = memoryFiles();
  made.writeFile('/file', 'content');
  return made;
};

async function lookup(guest: RawGuest, name: string, node = 1): Promise<number> {
  const { body } = await guest.request({ opcode: 'LOOKUP', node, body: [name] });
  return fuse.fuse_entry_out.field.nodeid.get(guest.view(body));
}

async function open(guest: RawGuest, node: number, flags: number = openFlag.RDWR): Promise<number> {
  const body = [guest.encode(fuse.fuse_open_in, { flags })];
  const answer = await guest.request({ opcode: 'OPEN', node, body });
  expect(answer.error).toBe('ok');
  return fuse.fuse_open_out.field.fh.get(guest.view(answer.body));
}

const read = (guest: RawGuest, node: number, fh: number, size = 100, number = 0) =>
  guest.request({ opcode: 'READ', node, number, body: [guest.encode(fuse.fuse_read_in, { fh, size })] });

/** The same files, each of whose answers takes its time. */
function later(tree: MemoryFiles): FileTree<Inode, MemoryFile> {
  return new Proxy<FileTree<Inode, MemoryFile>>(tree, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (name === 'immediate') return false;
      if (typeof value !== 'function') return value;
      if (name === 'forget' || name === 'saveNode' || name === 'restoreNode') return value.bind(target);
      return async (...given: unknown[]) => {
        await Promise.resolve();
        return Reflect.apply(value, target, given);
      };
    },
  });
}

describe('a file system device', () => {
  // @holds 5.11.4.2 device: Device Types / File System Device / Device configuration layout
  it('tells its tag and at least one queue, and takes no other', () => {
    const { config } = fsDevice({ tag: 'grüße', files: files() });
    expect(text(config.tag).replaceAll('\0', '')).toBe('gr\u00c3\u00bc\u00c3\u009fe');
    expect(config.num_request_queues).toBe(1);
    expect(fsDevice({ tag: 'x'.repeat(36), files: files(), queues: 7 }).config.num_request_queues).toBe(7);
    for (const tag of ['', 'x'.repeat(37), 'a\0b']) {
      expect(() => fsDevice({ tag, files: files() })).toThrow(/give 1 to 36 bytes/);
    }
    for (const wrong of [{ queues: 0 }, { queues: 1.5 }, { maxData: 5000 }, { maxData: 2048 }]) {
      expect(() => fsDevice({ tag: 'a', files: files(), ...wrong })).toThrow(/give/);
    }
  });

  it('speaks with a big-endian guest, and then with a little-endian one', async () => {
    const tree = files();
    const guest = await RawGuest.boot({ files: tree }, { endian: 'big' });
    const node = await lookup(guest, 'file');
    expect(node).toBe(2);
    expect(text((await read(guest, node, await open(guest, node))).body)).toBe('content');
    const attr = guest.view((await guest.request({ opcode: 'LOOKUP', body: ['file'] })).body);
    expect(fuse.fuse_attr.field.size.get(attr, fuse.fuse_entry_out.field.attr.offset)).toBe(7);
    await guest.transport.writeStatus(0);
    const other = await RawGuest.boot({ files: tree });
    expect(await lookup(other, 'file')).toBe(2);
  });

  it('changes the byte order with a session', async () => {
    const guest = await RawGuest.boot({ files: files() }, { endian: 'big' });
    const little = fuse.fuse_in_header.encode({ len: 104, opcode: 26, unique: 5n });
    const init = fuse.fuse_init_in.encode({ major: 7, minor: 38 });
    const { bytes } = await guest.send(new Uint8Array([...little, ...init]), 80);
    const answer = fuse.fuse_init_out.read(new DataView(bytes.buffer, bytes.byteOffset + 16));
    expect([answer.major, answer.minor]).toEqual([7, 38]);
    expect(guest.device.knownFiles).toBe(1);
  });

  it('agrees to what both sides can do, and to no more', async () => {
    const asked = 0xffff_ffff;
    const agreed = async (options: Parameters<typeof memoryFiles>[0], flags: number) => {
      const guest = await RawGuest.boot({ files: memoryFiles(options), maxData: 65_536 }, { init: false });
      return fuse.fuse_init_out.read(guest.view((await guest.init(flags)).body));
    };
    const bit = (flag: keyof typeof initFlag): number => 1 << initFlag[flag];
    expect(await agreed({}, 0)).toMatchObject({ flags: 0, flags2: 0, max_write: 65_536 });
    const all = await agreed({}, asked);
    expect(all).toMatchObject({ max_pages: 16, time_gran: 1, major: 7, minor: 45 });
    expect(all.flags & bit('WRITEBACK_CACHE')).toBe(0);
    expect(all.flags & bit('POSIX_LOCKS')).not.toBe(0);
    const back = await agreed({ cache: { writeback: true, symlinks: true, data: 'keep' } }, asked);
    expect(back.flags & bit('WRITEBACK_CACHE')).not.toBe(0);
    expect(back.flags & bit('AUTO_INVAL_DATA')).toBe(0);
    const never = await agreed({ cache: { listAttributes: 'never' } }, asked);
    expect(never.flags & bit('DO_READDIRPLUS')).toBe(0);
  });

  it('refuses a session of a version that nobody speaks', async () => {
    const guest = await RawGuest.boot({ files: files() }, { init: false });
    const init = (major: number, minor: number) =>
      guest.request({ opcode: 'INIT', body: [guest.encode(fuse.fuse_init_in, { major, minor })] });
    expect(await init(6, 99)).toMatchObject({ error: 'EPROTO' });
    expect(await init(7, 26)).toMatchObject({ error: 'EPROTO' });
    expect(fuse.fuse_init_out.read(guest.view((await init(8, 0)).body))).toMatchObject({ major: 7 });
    expect(await guest.request({ opcode: 'STATFS' })).toMatchObject({ error: 'EIO' });
  });

  it('tells how long names and attributes are good, and how data is kept', async () => {
    const cache = { entrySeconds: 1.5, absentSeconds: 2, attributeSeconds: 86_400, data: 'keep' } as const;
    const tree = memoryFiles({ cache });
    tree.writeFile('/file', '');
    const guest = await RawGuest.boot({ files: tree });
    const found = await guest.request({ opcode: 'LOOKUP', body: ['file'] });
    expect(fuse.fuse_entry_out.read(guest.view(found.body))).toMatchObject({
      ...{ entry_valid: 1, entry_valid_nsec: 500_000_000, attr_valid: 86_400, attr_valid_nsec: 0 },
    });
    const absent = await guest.request({ opcode: 'LOOKUP', body: ['nothing'] });
    expect(fuse.fuse_entry_out.read(guest.view(absent.body))).toMatchObject({ nodeid: 0, entry_valid: 2 });
    const body = [guest.encode(fuse.fuse_open_in, {})];
    const opened = await guest.request({ opcode: 'OPEN', node: 2, body });
    expect(fuse.fuse_open_out.read(guest.view(opened.body)).open_flags).toBe(openReply.KEEP_CACHE);
  });

  it('changes nothing of a tree that is read-only', async () => {
    const tree = memoryFiles({ readOnly: true });
    tree.writeFile('/file', 'content');
    const guest = await RawGuest.boot({ files: tree });
    const node = await lookup(guest, 'file');
    const write = [guest.encode(fuse.fuse_open_in, { flags: openFlag.WRONLY })];
    expect(await guest.request({ opcode: 'OPEN', node, body: write })).toMatchObject({ error: 'EROFS' });
    const cut = [guest.encode(fuse.fuse_open_in, { flags: openFlag.TRUNC })];
    expect(await guest.request({ opcode: 'OPEN', node, body: cut })).toMatchObject({ error: 'EROFS' });
    const setattr = [guest.encode(fuse.fuse_setattr_in, { valid: 1, mode: 0o777 })];
    for (const [opcode, body] of [
      ['SETATTR', setattr],
      ['UNLINK', ['file']],
      ['MKDIR', [new Uint8Array(8), 'new']],
      ['RENAME', [guest.encode(fuse.fuse_rename_in, { newdir: 1 }), 'file', 'other']],
      ['CREATE', [guest.encode(fuse.fuse_create_in, { flags: openFlag.CREAT }), 'new']],
    ] as const) {
      expect(await guest.request({ opcode, node, body })).toMatchObject({ error: 'EROFS' });
    }
    expect(text((await read(guest, node, await open(guest, node, openFlag.RDONLY))).body)).toBe('content');
    expect(tree.list()).toEqual(['file']);
  });

  it('has guests stop asking for what there is not', async () => {
    const guest = await RawGuest.boot({ files: files() });
    for (const [opcode, layout] of [
      ['IOCTL', fuse.fuse_ioctl_in],
      ['POLL', fuse.fuse_poll_in],
      ['BMAP', fuse.fuse_bmap_in],
    ] as const) {
      const body = [new Uint8Array(layout.size)];
      expect(await guest.request({ opcode, body })).toMatchObject({ error: 'ENOSYS' });
    }
  });
});

describe('a tree that takes its time', () => {
  it('is served like one that does not', async () => {
    const tree = files();
    for (let i = 0; i < 50; i++) tree.writeFile(`/many/${i}`, `${i}`);
    const guest = await RawGuest.boot({ files: later(tree) });
    const node = await lookup(guest, 'file');
    const fh = await open(guest, node);
    const writing = guest.encode(fuse.fuse_write_in, { fh, offset: 3, size: 4 });
    await guest.request({ opcode: 'WRITE', node, body: [writing, Uint8Array.of(65, 66, 67, 68)] });
    const both = await Promise.all([read(guest, node, fh), read(guest, node, fh, 3, 1)]);
    expect(both.map(({ body }) => text(body))).toEqual(['conABCD', 'con']);
    const many = await lookup(guest, 'many');
    const opened = await guest.request({ opcode: 'OPENDIR', node: many, body: [new Uint8Array(8)] });
    const directory = fuse.fuse_open_out.field.fh.get(guest.view(opened.body));
    const body = [guest.encode(fuse.fuse_read_in, { fh: directory, size: 20_000 })];
    const listed = await guest.request({ opcode: 'READDIRPLUS', node: many, body, room: 21_000 });
    expect(listed.error).toBe('ok');
    expect(guest.device.knownFiles).toBe(3 + 50);
    expect(guest.errors).toEqual([]);
  });

  it('may be late for a guest that reset its device: nothing stays open or known', async () => {
    const tree = files();
    const slow = later(tree);
    const guest = await RawGuest.boot({ files: slow });
    const node = await lookup(guest, 'file');
    // A device that was reset never gives these back, and the driver was not told.
    void Promise.all([
      lookup(guest, 'file'),
      guest.request({ opcode: 'OPEN', node, body: [guest.encode(fuse.fuse_open_in, {})] }),
      guest.request({
        opcode: 'CREATE',
        body: [guest.encode(fuse.fuse_create_in, { flags: openFlag.RDWR }), 'new'],
      }),
    ]);
    await guest.transport.writeStatus(0);
    await guest.reopen();
    expect(await lookup(guest, 'new')).toBeGreaterThan(0);
    await guest.request({ opcode: 'DESTROY' });
    expect(guest.device.openFiles).toBe(0);
    tree.remove('/new');
    tree.remove('/file');
    expect(tree.fileCount).toBe(1);
  });

  it('keeps a file open that is released while it is read', async () => {
    const tree = files();
    const events: string[] = [];
    const slow = later(tree);
    const guest = await RawGuest.boot({
      files: new Proxy(slow, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name);
          if (name !== 'read' && name !== 'release') return value;
          return async (...given: unknown[]) => {
            if (typeof value !== 'function') return undefined;
            const result: unknown = await Reflect.apply(value, target, given);
            events.push(name);
            return result;
          };
        },
      }),
    });
    const node = await lookup(guest, 'file');
    const fh = await open(guest, node);
    const reading = read(guest, node, fh);
    const body = [guest.encode(fuse.fuse_release_in, { fh })];
    const released = guest.request({ opcode: 'RELEASE', node, body, number: 1 });
    expect(text((await reading).body)).toBe('content');
    await released;
    await guest.request({ opcode: 'DESTROY' });
    expect(events).toEqual(['read', 'release']);
  });

  it('that fails with what is no error of a file system reads EIO, and its owner hears of it', async () => {
    const tree = files();
    const broken = new Proxy<FileTree<Inode, MemoryFile>>(tree, {
      get(target, name) {
        if (name === 'statistics') {
          return () => {
            throw new RangeError('broken');
          };
        }
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const guest = await RawGuest.boot({ files: broken });
    expect(await guest.request({ opcode: 'STATFS' })).toMatchObject({ error: 'EIO' });
    expect(guest.errors).toMatchObject([{ code: 'IO_ERROR', cause: { message: 'broken' } }]);
  });
});

describe('the high priority queue', () => {
  const lock = (guest: RawGuest, fh: number, owner: bigint) =>
    guest.encode(fuse.fuse_lk_in, { fh, owner, lk: { start: 0, end: 9, type: 1, pid: 1 } });

  // @holds 5.11.6.2.1 device: Device Types / File System Device / Device Operation / Device Operation: High Priority Queue
  it('goes on while all requests wait, and interrupts them', async () => {
    const tree = files();
    const guest = await RawGuest.boot({ files: tree });
    const node = await lookup(guest, 'file');
    const fh = await open(guest, node);
    await guest.request({ opcode: 'SETLK', node, body: [lock(guest, fh, 1n)] });
    const waiting = [0, 1, 2, 3].map((index) =>
      guest.request({
        ...{ opcode: 'SETLKW', node, number: index % 2, unique: 2n ** 60n + BigInt(index) },
        body: [lock(guest, fh, 2n + BigInt(index))],
      }),
    );
    await guest.request({
      ...{ opcode: 'FORGET', queue: 'hiprio', room: 0, node },
      body: [guest.encode(fuse.fuse_forget_in, { nlookup: 1 })],
    });
    for (const [index, request] of waiting.entries()) {
      const body = [guest.encode(fuse.fuse_interrupt_in, { unique: 2n ** 60n + BigInt(index) })];
      await guest.request({ opcode: 'INTERRUPT', queue: 'hiprio', room: 0, body });
      expect(await request).toMatchObject({ error: 'EINTR' });
    }
    expect(tree.lockCount).toBe(1);
  });

  it('may be told of an interruption before the request', async () => {
    const guest = await RawGuest.boot({ files: files() });
    const node = await lookup(guest, 'file');
    const fh = await open(guest, node);
    await guest.request({ opcode: 'SETLK', node, body: [lock(guest, fh, 1n)] });
    for (let unique = 1000n; unique < 1400n; unique++) {
      const body = [guest.encode(fuse.fuse_interrupt_in, { unique })];
      await guest.request({ opcode: 'INTERRUPT', queue: 'hiprio', room: 16, body });
    }
    const late = guest.request({ opcode: 'SETLKW', node, unique: 1399n, body: [lock(guest, fh, 2n)] });
    expect(await late).toMatchObject({ error: 'EINTR' });
  });

  it('is not needed by a guest that resets: what waits is given up, and its locks are gone', async () => {
    const tree = files();
    const guest = await RawGuest.boot({ files: tree });
    const node = await lookup(guest, 'file');
    const fh = await open(guest, node);
    await guest.request({ opcode: 'SETLK', node, body: [lock(guest, fh, 1n)] });
    void guest.request({ opcode: 'SETLKW', node, body: [lock(guest, fh, 2n)] });
    await guest.request({ opcode: 'STATFS' });
    await guest.transport.writeStatus(0);
    await guest.reopen();
    expect(tree.lockCount).toBe(0);
    expect(guest.device.openFiles).toBe(0);
  });
});

it('forgets who held locks when they are given back, or their process closes the file', async () => {
  const tree = files();
  const guest = await RawGuest.boot({ files: tree, limits: { lockOwners: 2 } });
  const node = await lookup(guest, 'file');
  const fh = await open(guest, node);
  for (let owner = 1n; owner < 20n; owner++) {
    const lock = (type: number, end: number) =>
      guest.encode(fuse.fuse_lk_in, { fh, owner, lk: { start: 0, end, type, pid: 1 } });
    expect(await guest.request({ opcode: 'SETLK', node, body: [lock(1, 5)] })).toMatchObject({ error: 'ok' });
    const given =
      owner % 2n === 0n
        ? await guest.request({ opcode: 'SETLK', node, body: [lock(2, 2 ** 63)] })
        : await guest.request({
            ...{ opcode: 'FLUSH', node },
            body: [guest.encode(fuse.fuse_flush_in, { fh, lock_owner: owner })],
          });
    expect(given).toMatchObject({ error: 'ok' });
    expect(tree.lockCount).toBe(0);
  }
});

describe('reading and writing', () => {
  // @holds 5.11.6.4.1 device: Device Types / File System Device / Device Operation / Device Operation: DAX Window
  it('need no window to a file, which there is none of', async () => {
    const guest = await RawGuest.boot({ files: files() });
    const node = await lookup(guest, 'file');
    const fh = await open(guest, node);
    const mapping = [guest.encode(fuse.fuse_setupmapping_in, { fh, len: 4096, flags: 2 })];
    expect(await guest.request({ opcode: 'SETUPMAPPING', node, body: mapping })).toMatchObject({
      error: 'ENOSYS',
    });
    expect(text((await read(guest, node, fh)).body)).toBe('content');
  });

  it('stop at the end of the file, with the used length that says so', async () => {
    const guest = await RawGuest.boot({ files: files() });
    const node = await lookup(guest, 'file');
    const fh = await open(guest, node);
    expect(await read(guest, node, fh, 4000)).toMatchObject({ length: 23, written: 23 });
    const body = [guest.encode(fuse.fuse_read_in, { fh, offset: 7, size: 10 })];
    expect(await guest.request({ opcode: 'READ', node, body })).toMatchObject({ length: 16, written: 16 });
  });

  it('keep to how the file was opened', async () => {
    const guest = await RawGuest.boot({ files: files() });
    const node = await lookup(guest, 'file');
    const [reads, writes] = [
      await open(guest, node, openFlag.RDONLY),
      await open(guest, node, openFlag.WRONLY),
    ];
    expect(await read(guest, node, writes)).toMatchObject({ error: 'EBADF' });
    const write = (fh: number) =>
      guest.request({
        ...{ opcode: 'WRITE', node },
        body: [guest.encode(fuse.fuse_write_in, { fh, size: 1 }), Uint8Array.of(1)],
      });
    expect(await write(reads)).toMatchObject({ error: 'EBADF' });
    expect(await write(writes)).toMatchObject({ error: 'ok' });
  });
});

describe('a session that is saved', () => {
  it('goes on in another device: files that are known and open, and INIT', async () => {
    const tree = files();
    const guest = await RawGuest.boot({ files: tree }, { endian: 'little' });
    const node = await lookup(guest, 'file');
    const fh = await open(guest, node);
    tree.writeFile('/gone', '');
    const gone = await lookup(guest, 'gone');
    const state = saveDevice(guest.transport.core);
    tree.remove('/gone');
    await guest.transport.writeStatus(0);
    expect(guest.device.knownFiles).toBe(1);
    restoreDevice(guest.transport.core, JSON.parse(JSON.stringify(state)));
    guest.transport.core.resume();
    expect(text((await read(guest, node, fh)).body)).toBe('content');
    expect(await guest.request({ opcode: 'LOOKUP', node: gone, body: ['x'] })).toMatchObject({
      error: 'ESTALE',
    });
    expect(await lookup(guest, 'file')).toBe(node);
  });

  it('is refused when it is none, or cannot be named', async () => {
    const guest = await RawGuest.boot({ files: files() });
    const state = saveDevice(guest.transport.core);
    for (const device of [null, 5, {}, { begun: true }, { ...Object(state.device), nodes: [[0, 1, 1]] }]) {
      expect(() => restoreDevice(guest.transport.core, { ...state, device })).toThrow(/saved state/);
    }
    const tree = files();
    const nameless = new Proxy<FileTree<Inode, MemoryFile>>(tree, {
      get(target, name) {
        const value: unknown = name === 'saveNode' ? undefined : Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const other = await RawGuest.boot({ files: nameless });
    expect(() => saveDevice(other.transport.core)).not.toThrow();
    await lookup(other, 'file');
    expect(() => saveDevice(other.transport.core)).toThrow(/unmount/);
  });
});

describe('notifications', () => {
  const longName = 'n'.repeat(255);

  // @holds 5.11.4.2 device: Device Types / File System Device / Device configuration layout
  it('fit in the buffers that the driver is told to give, and move the request queues', async () => {
    const tree = files();
    tree.writeFile(`/${longName}`, '');
    const guest = await RawGuest.boot({ files: tree, notifications: true }, { notifications: true });
    const queue = guest.opened.queue('notification');
    expect([queue.index, guest.opened.queue('requestq').index]).toEqual([1, 2]);
    const { notify_buf_size: size = 0 } = guest.opened.config;
    const node = await lookup(guest, longName);
    const inode = tree.lookup(tree.root, longName);
    if (inode === undefined) throw new Error('the file is there');
    const address = queue.allocator.allocate(3 * size);
    const told: Promise<number>[] = [0, 1, 2].map(
      (index) =>
        new Promise((resolve, reject) => {
          queue.submit([], [{ address: address + index * size, length: size }], (written, failure) =>
            failure === undefined ? resolve(written) : reject(failure),
          );
        }),
    );
    expect(guest.device.fileChanged(inode)).toBe(true);
    expect(guest.device.nameChanged(tree.root, 'file')).toBe(true);
    expect(guest.device.nameRemoved(tree.root, inode, longName)).toBe(true);
    expect(await Promise.all(told)).toEqual([16 + 24, 16 + 16 + 5, size]);
    const last = queue.memory.read(address + 2 * size, size);
    const { parent, child, namelen } = fuse.fuse_notify_delete_out.read(new DataView(last.buffer, 16));
    expect([parent, child, namelen]).toEqual([1, node, 255]);
  });

  it('wait for buffers, a thousand of them, and no more', async () => {
    const tree = files();
    const guest = await RawGuest.boot({ files: tree, notifications: true }, { notifications: true });
    const told = Array.from({ length: 1030 }, () => guest.device.nameChanged(tree.root, 'file'));
    expect(told.filter(Boolean).length).toBe(1024);
    await guest.transport.writeStatus(0);
    expect(guest.device.nameChanged(tree.root, 'file')).toBe(false);
  });

  it('are not told to a driver that takes none, whose queues stand as if there were none', async () => {
    const tree = files();
    const guest = await RawGuest.boot({ files: tree, notifications: true });
    expect(guest.opened.queue('requestq').index).toBe(1);
    expect(await lookup(guest, 'file')).toBe(2);
    expect([guest.device.notifies, guest.device.nameChanged(tree.root, 'file')]).toEqual([false, false]);
  });

  it('break the queue when a buffer is too short for them', async () => {
    const tree = files();
    const guest = await RawGuest.boot({ files: tree, notifications: true }, { notifications: true });
    const queue = guest.opened.queue('notification');
    guest.device.nameChanged(tree.root, 'file');
    const lost = new Promise((resolve) => {
      queue.submit([], [{ address: queue.allocator.allocate(64), length: 64 }], (_, failure) =>
        resolve(failure),
      );
    });
    expect(await lost).toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
    expect(guest.errors).toMatchObject([{ code: 'BAD_REQUEST' }]);
  });
});

it('a type is kept when a file is made without one', async () => {
  const tree = files();
  const guest = await RawGuest.boot({ files: tree });
  const mknod = (mode: number, name: string) =>
    guest.request({ opcode: 'MKNOD', body: [guest.encode(fuse.fuse_mknod_in, { mode }), name] });
  expect(await mknod(0o600, 'plain')).toMatchObject({ error: 'ok' });
  expect(await mknod(fileType.FIFO | 0o600, 'fifo')).toMatchObject({ error: 'ok' });
  expect(await mknod(fileType.DIRECTORY | 0o700, 'directory')).toMatchObject({ error: 'EINVAL' });
  expect([tree.stat('plain').mode, tree.stat('fifo').mode]).toEqual([0o100_600, 0o010_600]);
  expect([tree.stat('plain').uid, tree.stat('plain').gid]).toEqual([5, 6]);
});

it('lets its bus go and comes to the next', async () => {
  const device = fsDevice({ tag: 'a', files: files() });
  const first = new Loopback(device);
  await first.close();
  expect(new Loopback(device).deviceId).toBe(26);
});
