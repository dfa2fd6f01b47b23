import { describe, expect, it } from 'vitest';
import { device } from '../../device/device.ts';
import { Recorder } from '../../testing/recorder.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { fsDevice } from './device.ts';
import { type OpenFs, openFs } from './driver.ts';
import type { FsNotification } from './driver-notifications.ts';
import { type MemoryFiles, memoryFiles } from './memory-files.ts';
import { fs, virtio_fs_config } from './spec.ts';
import { fuseOpcode } from './spec-fuse.ts';
import * as fuse from './spec-fuse-structs.ts';

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (unit) => unit.charCodeAt(0));
const text = (given: Uint8Array): string => String.fromCharCode(...given);

async function mounted(tree: MemoryFiles = memoryFiles(), queues = 1): Promise<OpenFs> {
  return openFs(new Loopback(fsDevice({ tag: 'share', files: tree, queues: 2 })), { queues });
}

describe('openFs', () => {
  // @holds 5.11.4.1 driver: Device Types / File System Device / Device configuration layout
  it('writes no configuration, and uses as many request queues as it is told and there are', async () => {
    for (const [wanted, used] of [
      [1, [0, 1]],
      [2, [0, 1, 2]],
      [9, [0, 1, 2]],
    ] as const) {
      const transport = new Recorder(new Loopback(fsDevice({ tag: 'a', files: memoryFiles(), queues: 2 })));
      const files = await openFs(transport, { queues: wanted });
      await files.writeFile('x', bytes('x'));
      await files.close();
      expect(transport.of('enableQueue').map(({ index }) => index)).toEqual(used);
      expect(transport.of('writeConfig')).toEqual([]);
      const kicked = new Set(transport.of('kick').map(({ index }) => index));
      expect([...kicked].sort()).toEqual(used);
    }
  });

  // @holds 5.11.6.2.2 driver: Device Types / File System Device / Device Operation / Device Operation: High Priority Queue
  it('sends to the high priority queue what belongs there, and nothing else', async () => {
    const seen = { hiprio: new Set<number>(), requestq: new Set<number>() };
    const inner = fsDevice({ tag: 'a', files: memoryFiles() });
    const { serve = {} } = inner.behaviour;
    const watch =
      (name: 'hiprio' | 'requestq') => (chain: Parameters<NonNullable<typeof serve.hiprio>>[0]) => {
        seen[name].add(chain.readable.struct(fuse.fuse_in_header).opcode);
        chain.readable.seek(0);
        // The queue is not looked at by this device.
        return serve[name]?.(chain, undefined as never);
      };
    const watched = device(fs, {
      ...inner.behaviour,
      config: inner.config,
      serve: { hiprio: watch('hiprio'), requestq: watch('requestq') },
    });
    const files = await openFs(new Loopback(watched));
    await files.writeFile('x', bytes('x'));
    const file = await files.open('x', { access: 'both' });
    await file.lock({ type: 'write', owner: 1n });
    const waits = file.lock({ type: 'write', owner: 2n }, { wait: true, onWaiting: (stop) => void stop() });
    await expect(waits).rejects.toMatchObject({ code: 'EINTR' });
    await file.close();
    const many = Array.from({ length: 300 }, (_, index) => `f${index}`);
    for (const name of many) await files.writeFile(name, bytes(name));
    await files.readdir('/', { attributes: true });
    await files.close();
    const { FORGET, INTERRUPT, BATCH_FORGET } = fuseOpcode;
    expect([...seen.hiprio].sort((a, b) => a - b)).toEqual([FORGET, INTERRUPT, BATCH_FORGET]);
    for (const opcode of [FORGET, INTERRUPT, BATCH_FORGET]) expect(seen.requestq.has(opcode)).toBe(false);
  });

  // @holds 5.11.6.4.2 driver: Device Types / File System Device / Device Operation / Device Operation: DAX Window
  it('reads and writes where there is no window, and asks for none', async () => {
    const transport = new Recorder(new Loopback(fsDevice({ tag: 'a', files: memoryFiles() })));
    const files = await openFs(transport);
    await files.writeFile('x', bytes('through buffers'));
    expect(text(await files.readFile('x'))).toBe('through buffers');
  });

  // @holds 5.11.6.3.1 driver: Device Types / File System Device / Device Operation / Device Operation: Notification Queue
  it('gives buffers that are long enough, and each again', async () => {
    const tree = memoryFiles();
    const name = 'n'.repeat(255);
    tree.writeFile(name, '');
    const share = fsDevice({ tag: 'a', files: tree, notifications: true });
    const told: FsNotification[] = [];
    const files = await openFs(new Loopback(share), { onNotification: (one) => void told.push(one) });
    await files.stat(name);
    const file = await files.open(name);
    const inode = tree.lookup(tree.root, name);
    if (inode === undefined) throw new Error('the file is there');
    for (let round = 0; round < 100; round++) {
      expect(share.nameRemoved(tree.root, inode, name)).toBe(true);
      // One round trip, and all buffers are back.
      await files.statistics();
    }
    share.fileChanged(inode, 5, 6);
    share.nameChanged(tree.root, 'other');
    await files.statistics();
    expect(told.length).toBe(102);
    expect(told[99]).toEqual({ kind: 'removed', directory: 1, node: file.nodeId, name });
    expect(told[100]).toEqual({ kind: 'file', node: file.nodeId, offset: 5, length: 6 });
    expect(told[101]).toEqual({ kind: 'name', directory: 1, name: 'other' });
    await files.close();
  });

  it('finds files by paths, over links, and forgets every one', async () => {
    const tree = memoryFiles();
    tree.writeFile('/a/b/file', 'found');
    const share = fsDevice({ tag: 'a', files: tree });
    const files = await openFs(new Loopback(share));
    await files.symlink('b/file', 'a/link');
    await files.symlink('/a/../a/./b', 'a/b/up');
    await files.symlink('loop', 'loop');
    expect(text(await files.readFile('/a/link'))).toBe('found');
    expect(text(await files.readFile('a/b/up/up/../b/file'))).toBe('found');
    expect(text(await files.readFile('../../a/b/file'))).toBe('found');
    expect((await files.stat('a/link', { follow: false })).mode & 0o170_000).toBe(0o120_000);
    await expect(files.stat('loop')).rejects.toMatchObject({ code: 'ELOOP' });
    await expect(files.stat('a/b/file/x')).rejects.toMatchObject({ code: 'ENOTDIR' });
    await expect(files.stat('nothing')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(files.unlink('/')).rejects.toMatchObject({ code: 'EBUSY' });
    expect([share.knownFiles, share.openFiles]).toEqual([1, 0]);
    await files.close();
  });

  it('does with files what programs do', async () => {
    const files = await mounted();
    await files.mkdir('dir', 0o700);
    await files.mknod('dir/fifo', 0o010_600);
    const file = await files.open('dir/new', { access: 'both', create: true, exclusive: true, mode: 0o600 });
    const again = files.open('dir/new', { access: 'write', create: true, exclusive: true });
    await expect(again).rejects.toMatchObject({ code: 'EEXIST' });
    await file.write(0, bytes('0123456789'));
    const copy = await files.temporary('dir');
    expect(await file.copyTo(copy, 2, 0, 5)).toBe(5);
    expect(text(await copy.read(0, 100))).toBe('23456');
    await copy.allocate(0, 10_000);
    expect((await copy.stat()).size).toBe(10_000);
    await copy.allocate(0, 3, 'punch');
    expect(text(await copy.read(0, 5))).toBe('\0\0\x0056');
    await copy.close();
    await file.sync();
    await file.close();
    const append = await files.open('dir/new', { access: 'write', append: true });
    await append.write(0, bytes('!'));
    await append.close();
    expect(text(await files.readFile('dir/new'))).toBe('0123456789!');
    await files.setXattr('dir', 'user.a', bytes('1'));
    await files.setXattr('dir', 'user.b', bytes('2'), 'create');
    await expect(files.setXattr('dir', 'user.b', bytes('3'), 'create')).rejects.toMatchObject({
      code: 'EEXIST',
    });
    expect(await files.listXattrs('dir')).toEqual(['user.a', 'user.b']);
    await files.removeXattr('dir', 'user.a');
    expect(await files.getXattr('dir', 'user.a')).toBeUndefined();
    await files.sync();
    expect((await files.statistics()).bsize).toBe(4096);
    expect((await files.readdir('dir')).map(({ name }) => name).sort()).toEqual(['fifo', 'new']);
    await expect(files.rmdir('dir')).rejects.toMatchObject({ code: 'ENOTEMPTY' });
    await files.close();
  });
});

describe('a device that lies', () => {
  /** Answers INIT as it should, and everything else as it is told. */
  async function liar(answer: (unique: bigint, opcode: number) => Uint8Array): Promise<OpenFs> {
    const lying = device(fs, {
      config: { tag: virtio_fs_config.read(new DataView(new ArrayBuffer(44))).tag, num_request_queues: 1 },
      serve: {
        requestq({ readable, writable }) {
          const { opcode, unique } = readable.struct(fuse.fuse_in_header);
          if (opcode !== fuseOpcode.INIT) {
            writable.write(answer(unique, opcode));
            return;
          }
          writable.struct(fuse.fuse_out_header, { len: 80, unique });
          writable.struct(fuse.fuse_init_out, { major: 7, minor: 45, max_write: 4096, flags: 0xffff_ffff });
        },
      },
    });
    return openFs(new Loopback(lying));
  }

  it.each<[string, (unique: bigint) => Uint8Array]>([
    ['nothing', () => new Uint8Array()],
    ['half a header', () => new Uint8Array(15)],
    [
      'an answer to another request',
      (unique) => fuse.fuse_out_header.encode({ len: 16, unique: unique + 1n }),
    ],
    ['more than it wrote', (unique) => fuse.fuse_out_header.encode({ len: 120, unique })],
    ['less than a header', (unique) => fuse.fuse_out_header.encode({ len: 8, unique })],
    ['too little', (unique) => fuse.fuse_out_header.encode({ len: 16, unique })],
    ['an error that is none', (unique) => fuse.fuse_out_header.encode({ len: 16, error: 5, unique })],
    ['an error beyond all', (unique) => fuse.fuse_out_header.encode({ len: 16, error: -5000, unique })],
  ])('with %s is given up', async (_, answer) => {
    const files = await liar(answer);
    await expect(files.stat('/')).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
    await expect(files.stat('/')).rejects.toThrow();
  });

  it('about a directory without end is found out', async () => {
    const item = fuse.fuse_dirent.encode({ ino: 1, off: 7, namelen: 1, type: 8, name: [97] });
    const files = await liar((unique, opcode) => {
      const bodies: Record<number, Uint8Array> = {
        [fuseOpcode.GETATTR]: fuse.fuse_attr_out.encode({}),
        [fuseOpcode.OPENDIR]: fuse.fuse_open_out.encode({}),
        [fuseOpcode.READDIR]: new Uint8Array([...item, 0, 0, 0, 0, 0, 0, 0]),
      };
      const body = bodies[opcode] ?? new Uint8Array();
      const header = fuse.fuse_out_header.encode({ len: 16 + body.length, unique });
      return new Uint8Array([...header, ...body]);
    });
    await expect(files.readdir('/')).rejects.toMatchObject({ code: 'BAD_RESPONSE' });
  });
});
