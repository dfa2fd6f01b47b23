import { describe, expect, it, vi } from 'vitest';
import { UsageError } from '../../errors.ts';
import { status } from '../../spec/status.ts';
import { Loopback } from '../../transports/loopback/loopback.ts';
import { fsDevice } from './device.ts';
import { openFs } from './driver.ts';
import { FileBytes } from './file-bytes.ts';
import { memoryFiles } from './memory-files.ts';
import { memoryWindow } from './memory-window.ts';
import { RawGuest } from './raw-guest.fixture.ts';
import { FsError } from './spec-errno.ts';
import { attrFlag, openFlag } from './spec-fuse.ts';
import * as fuse from './spec-fuse-structs.ts';
import type { FsWindow } from './window.ts';

const page = 4096;
const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
const bytes = (of: string): Uint8Array => Uint8Array.from(of, (unit) => unit.charCodeAt(0));

/** A share with a window, mounted at the other end of a loopback. */
async function mounted(pages = 16) {
  const tree = memoryFiles();
  const window = memoryWindow(pages * page);
  const share = fsDevice({ tag: 'dax', files: tree, window });
  const files = await openFs(new Loopback(share), { window });
  return { tree, window, share, files };
}

describe('a window, from end to end', () => {
  it('shows a file, reads and writes it without a request, beside requests', async () => {
    const { tree, share, files } = await mounted();
    tree.writeFile('/f', 'in memory');
    const file = await files.open('f', { access: 'both' });
    expect(files.hasWindow).toBe(true);
    const mapping = await file.map({ length: 9, writable: true });
    expect([mapping.length, share.mappings]).toEqual([page, 1]);
    const target = new Uint8Array(9);
    mapping.read(0, target);
    expect(text(target)).toBe('in memory');
    mapping.write(3, bytes('MEM'));
    expect(text(await file.read(0, 100))).toBe('in MEMory');
    expect(text(tree.readFile('/f'))).toBe('in MEMory');
    await file.write(0, bytes('on'));
    mapping.read(0, target);
    expect(text(target)).toBe('on MEMory');
    // What is behind the end becomes of the file with a request, and is 0 until then.
    mapping.write(20, bytes('unspecified'));
    await file.truncate(40);
    expect(text((await file.read(9, 31)).map((byte) => byte + 48))).toBe('0'.repeat(31));
    await file.write(4095, bytes('over the page'));
    await mapping.close();
    expect(share.mappings).toBe(0);
    expect(text((await files.readFile('f')).subarray(0, 9))).toBe('on MEMory');
    expect((await file.stat()).size).toBe(4095 + 13);
    expect(() => mapping.read(0, target)).toThrow(UsageError);
    await mapping.close();
    await file.close();
    await files.close();
  });

  it('holds as many mappings as it has room for', async () => {
    const { tree, files } = await mounted(4);
    tree.writeFile('/f', new Uint8Array(8 * page).fill(1));
    const file = await files.open('f', { access: 'both' });
    const three = await file.map({ length: 3 * page });
    await expect(file.map({ length: 2 * page, from: 4 * page })).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
    });
    const one = await file.map({ length: page, from: 7 * page, writable: true });
    await three.close();
    const two = await file.map({ length: page + 1, from: 4 * page, writable: true });
    one.write(0, Uint8Array.of(9));
    two.write(page, Uint8Array.of(8));
    await Promise.all([one.close(), two.close()]);
    const content = await files.readFile('f');
    expect([content[7 * page], content[5 * page], content[0]]).toEqual([9, 8, 1]);
    await expect(file.map({ length: 0 })).rejects.toThrow(UsageError);
    await expect(file.map({ length: 1, from: 100 })).rejects.toThrow(UsageError);
    await file.close();
    await files.close();
  });

  it('is there for those who are given one alone', async () => {
    const tree = memoryFiles();
    tree.writeFile('/f', 'x');
    for (const [device, driver] of [
      [memoryWindow(page), undefined],
      [undefined, memoryWindow(page)],
    ] as const) {
      const share = fsDevice({ tag: 'a', files: tree, ...(device === undefined ? {} : { window: device }) });
      const files = await openFs(new Loopback(share), { window: driver });
      const file = await files.open('f');
      expect(files.hasWindow).toBe(false);
      await expect(file.map({ length: 1 })).rejects.toMatchObject({ code: 'IO_ERROR' });
      expect(text(await file.read(0, 1))).toBe('x');
      await file.close();
      await files.close();
    }
  });

  it('is not saved while files are mapped', async () => {
    const { tree, share, files } = await mounted();
    tree.writeFile('/f', 'x');
    const file = await files.open('f');
    const mapping = await file.map({ length: 1 });
    expect(() => share.behaviour.save?.()).toThrow(/unmount/);
    await mapping.close();
    expect(share.behaviour.save?.()).toBeDefined();
    await files.close();
  });
});

describe('bytes of a file in windows', () => {
  it('agree with a plain buffer, wherever they are', () => {
    let room = 0;
    const file = new FileBytes((count) => {
      room += count;
    });
    const model = new Uint8Array(200_000);
    let size = 0;
    let seed = 7;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    const lent = new Map<number, ReturnType<FileBytes['lend']>>();
    for (let round = 0; round < 600; round++) {
      const offset = random(150_000);
      const length = 1 + random(40_000);
      const end = Math.min(size, offset + length);
      const kind = random(7);
      if (kind === 0) {
        file.setSize(offset);
        model.fill(0, Math.min(offset, size));
        size = offset;
      } else if (kind === 1) {
        file.clear(offset, end);
        if (offset < end) model.fill(0, offset, end);
      } else if (kind < 4) {
        const source = new Uint8Array(length).fill(1 + (round % 255));
        file.write(offset, source);
        model.set(source, offset);
        size = Math.max(size, offset + length);
      } else if (kind === 4) {
        const at = offset - (offset % 32_768);
        if (lent.has(at)) continue;
        lent.set(at, file.lend(at, new Uint8Array(32_768), random(3) > 0));
      } else if (kind === 5) {
        const [at, range] = [...lent][random(lent.size)] ?? [];
        if (at === undefined || range === undefined) continue;
        file.takeBack(range);
        lent.delete(at);
      } else {
        // The guest writes to its memory.
        const [, range] = [...lent][random(lent.size)] ?? [];
        if (range === undefined) continue;
        const at = random(32_768 - 100);
        range.bytes.fill(round % 256, at, at + 100);
        if (range.writable) {
          const [first, last] = [range.start + at, Math.min(range.start + at + 100, size)];
          if (first < last) model.fill(round % 256, first, last);
        } else range.bytes.set(model.subarray(range.start + at, range.start + at + 100), at);
      }
      expect(file.size).toBe(size);
      expect(file.room).toBe(room);
      const target = new Uint8Array(model.length);
      expect(file.read(0, target)).toBe(size);
      expect(Buffer.compare(target.subarray(0, size), model.subarray(0, size)), `round ${round}`).toBe(0);
      for (const range of lent.values()) {
        const there = Math.max(0, Math.min(size, range.end) - range.start);
        const [seen, expected] = [
          range.bytes.subarray(0, there),
          model.subarray(range.start, range.start + there),
        ];
        expect(Buffer.compare(seen, expected), `round ${round}`).toBe(0);
      }
    }
    for (const range of lent.values()) file.takeBack(range);
    file.setSize(0);
    expect(room).toBe(0);
  });

  it('are to be written in one place alone', () => {
    const file = new FileBytes(() => {});
    file.write(0, new Uint8Array(3 * page));
    const written = file.lend(0, new Uint8Array(2 * page), true);
    for (const writable of [true, false]) {
      expect(() => file.lend(page, new Uint8Array(page), writable)).toThrow(FsError);
    }
    const read = file.lend(2 * page, new Uint8Array(page), false);
    expect(() => file.lend(2 * page, new Uint8Array(page), true)).toThrow(FsError);
    const readToo = file.lend(2 * page, new Uint8Array(page), false);
    file.write(2 * page, Uint8Array.of(5));
    expect([read.bytes[0], readToo.bytes[0]]).toEqual([5, 5]);
    // A guest that writes what it was to read has changed its own copy.
    read.bytes[0] = 6;
    const target = new Uint8Array(1);
    file.read(2 * page, target);
    expect(target[0]).toBe(5);
    for (const range of [written, read, readToo, read]) file.takeBack(range);
  });

  it('have room for what is written in a window, or are not shown there', () => {
    let room = 100_000;
    const file = new FileBytes((count) => {
      if (count > room) throw FsError.of('ENOSPC');
      room -= count;
    });
    file.setSize(2 ** 20);
    expect(() => file.lend(0, new Uint8Array(2 ** 18), true)).toThrow(FsError);
    file.lend(0, new Uint8Array(page), true).bytes.fill(1);
    file.setSize(page);
    expect(() => file.setSize(2 ** 20)).not.toThrow();
  });
});

/** A guest that sends what it likes, and its window. */
async function raw(
  options: { readonly window?: FsWindow; readonly mappings?: number; readonly readOnly?: boolean } = {},
) {
  const made = memoryFiles({ readOnly: options.readOnly === true });
  made.writeFile('/a', bytes('a'.repeat(4 * page)));
  made.writeFile('/b', bytes('b'.repeat(4 * page)));
  made.writeFile('/dir/x', '');
  const window = memoryWindow(8 * page);
  const limits = { mappings: options.mappings };
  const guest = await RawGuest.boot({ files: made, window: options.window ?? window, limits });
  const lookup = async (name: string) => {
    const found = await guest.request({ opcode: 'LOOKUP', body: [name] });
    return fuse.fuse_entry_out.read(guest.view(found.body));
  };
  const nodes = { a: (await lookup('a')).nodeid, b: (await lookup('b')).nodeid };
  const set = async (
    at: number,
    count: number,
    how: { node?: number; from?: number; flags?: number; fh?: number } = {},
  ) => {
    const { node = nodes.a, from = 0, flags = 3, fh } = how;
    const body = guest.encode(fuse.fuse_setupmapping_in, {
      ...{ foffset: from, len: count, moffset: at, flags },
      fh: fh ?? 0,
    });
    // As Linux does: no open file is named.
    if (fh === undefined) body.fill(0xff, 0, 8);
    return (await guest.request({ opcode: 'SETUPMAPPING', node, body: [body] })).error;
  };
  const remove = async (...ranges: (readonly [number, number])[]) => {
    const body = [
      guest.encode(fuse.fuse_removemapping_in, { count: ranges.length }),
      ...ranges.map(([moffset, len]) => guest.encode(fuse.fuse_removemapping_one, { moffset, len })),
    ];
    return (await guest.request({ opcode: 'REMOVEMAPPING', body })).error;
  };
  /** The first byte of each page of the window. */
  const seen = () =>
    text(Uint8Array.from({ length: 8 }, (_, i) => window.bytes[i * page] ?? 0)).replaceAll('\0', '.');
  return { guest, made, window, nodes, set, remove, seen, lookup };
}

describe('a window that a driver asks anything of', () => {
  // @holds 5.11.6.4.1 device: Device Types / File System Device / Device Operation / Device Operation: DAX Window
  it('takes mappings over others, wholly and in part, and rejects what goes beyond its end', async () => {
    const { guest, set, remove, seen, nodes } = await raw();
    const { b: node } = nodes;
    expect(await set(0, 4 * page)).toBe('ok');
    expect(seen()).toBe('aaaa....');
    expect(await set(0, 4 * page, { node })).toBe('ok');
    expect(seen()).toBe('bbbb....');
    expect(await set(page, 2 * page)).toBe('ok');
    expect([seen(), guest.device.mappings]).toEqual(['baab....', 3]);
    expect(await set(3 * page, 4 * page, { node: nodes.a, flags: 2 })).toBe('EBUSY');
    expect(await set(7 * page, page, { from: 3 * page })).toBe('ok');
    expect(seen()).toBe('baa....a');
    expect(await remove([2 * page, page])).toBe('ok');
    expect([seen(), guest.device.mappings]).toEqual(['ba.....a', 3]);
    for (const [at, count] of [
      [7 * page, 2 * page],
      [8 * page, page],
      [0, 9 * page],
      [2 ** 52, page],
      [0, 2 ** 52],
    ] as const) {
      expect(await set(at, count), `${at} ${count}`).toBe('EINVAL');
    }
    expect(await remove([0, 8 * page])).toBe('ok');
    expect([seen(), guest.device.mappings]).toEqual(['........', 0]);
    expect(guest.errors).toEqual([]);
  });

  // @holds 5.11.6.4.1 device: Device Types / File System Device / Device Operation / Device Operation: DAX Window
  it('leaves reading and writing as they are', async () => {
    const { guest, set, window, nodes } = await raw();
    expect(await set(0, 4 * page)).toBe('ok');
    window.bytes.fill(120, page, 2 * page);
    const opening = [guest.encode(fuse.fuse_open_in, { flags: openFlag.RDWR })];
    const open = await guest.request({ opcode: 'OPEN', node: nodes.a, body: opening });
    const fh = fuse.fuse_open_out.field.fh.get(guest.view(open.body));
    const write = [guest.encode(fuse.fuse_write_in, { fh, offset: page + 1, size: 3 }), bytes('yyy')];
    expect(await guest.request({ opcode: 'WRITE', node: nodes.a, body: write })).toMatchObject({
      error: 'ok',
    });
    const read = [guest.encode(fuse.fuse_read_in, { fh, offset: page - 1, size: 6 })];
    expect(text((await guest.request({ opcode: 'READ', node: nodes.a, body: read })).body)).toBe('axyyyx');
    expect(text(window.bytes.subarray(page, page + 5))).toBe('xyyyx');
  });

  it('refuses what is not aligned, not open, not a file, or not there', async () => {
    const { guest, set, remove, nodes, lookup } = await raw();
    expect(await set(100, page)).toBe('EINVAL');
    expect(await set(0, 100)).toBe('EINVAL');
    expect(await set(0, 0)).toBe('EINVAL');
    expect(await set(0, page, { from: 1 })).toBe('EINVAL');
    expect(await set(0, page, { from: 2 ** 60 })).toBe('EINVAL');
    expect(await set(0, page, { fh: 77 })).toBe('EBADF');
    expect(await set(0, page, { node: 999 })).toBe('ESTALE');
    expect(await set(0, page, { node: (await lookup('dir')).nodeid })).toBe('EISDIR');
    const opening = [guest.encode(fuse.fuse_open_in, { flags: openFlag.RDONLY })];
    const open = await guest.request({ opcode: 'OPEN', node: nodes.a, body: opening });
    const fh = fuse.fuse_open_out.field.fh.get(guest.view(open.body));
    expect(await set(0, page, { fh })).toBe('EBADF');
    expect(await set(0, page, { fh, node: nodes.b, flags: 2 })).toBe('EBADF');
    expect(await set(0, page, { fh, flags: 2 })).toBe('ok');
    expect(await remove([1, page])).toBe('EINVAL');
    expect(await remove([0, page], [8 * page, page])).toBe('EINVAL');
    expect(guest.device.mappings).toBe(1);
    expect(await remove([0, page], [0, page])).toBe('ok');
    expect(await remove([0, page])).toBe('ok');
    expect(await remove()).toBe('ok');
    const lying = [guest.encode(fuse.fuse_removemapping_in, { count: 2 ** 32 - 1 }), new Uint8Array(16)];
    expect((await guest.request({ opcode: 'REMOVEMAPPING', body: lying })).error).toBe('EINVAL');
    expect(guest.transport.core.status & status.DEVICE_NEEDS_RESET).toBe(0);
  });

  it('bounds how many mappings there are', async () => {
    const { set, remove } = await raw({ mappings: 4 });
    expect(await set(0, page)).toBe('ok');
    expect(await set(2 * page, page, { from: page })).toBe('ok');
    expect(await set(4 * page, page, { from: 2 * page })).toBe('ok');
    expect(await set(6 * page, page, { from: 3 * page })).toBe('ENOMEM');
    expect(await remove([0, page])).toBe('ok');
    expect(await set(6 * page, page, { from: 3 * page })).toBe('ok');
  });

  it('shows files of a tree that is only to be read, to be read', async () => {
    const { set, made, window } = await raw({ readOnly: true });
    expect(await set(0, page)).toBe('EROFS');
    expect(await set(0, page, { flags: 2 })).toBe('ok');
    window.bytes.fill(1);
    expect(made.readFile('/a')[0]).toBe(97);
  });

  it('keeps a file that was forgotten, closed and removed for its mapping, and no longer', async () => {
    const { guest, made, set, remove, nodes, seen } = await raw();
    expect(await set(0, page)).toBe('ok');
    const before = made.fileCount;
    expect((await guest.request({ opcode: 'UNLINK', body: ['a'] })).error).toBe('ok');
    const forgets = guest.encode(fuse.fuse_forget_in, { nlookup: 1 });
    await guest.request({ opcode: 'FORGET', node: nodes.a, body: [forgets], queue: 'hiprio' });
    expect([made.fileCount, seen()]).toEqual([before, 'a.......']);
    expect(await set(page, page)).toBe('ESTALE');
    expect(await remove([0, page])).toBe('ok');
    expect(made.fileCount).toBe(before - 1);
  });

  it('is empty after INIT, DESTROY and a reset, and what was written is in the files', async () => {
    const { guest, made, set, seen, window, nodes } = await raw();
    const ends = [
      () => guest.init(),
      () => guest.request({ opcode: 'DESTROY' }).then(() => guest.init()),
      async () => {
        await guest.transport.writeStatus(0);
        expect([seen(), guest.device.mappings]).toEqual(['........', 0]);
        await guest.reopen();
      },
    ];
    for (const [round, end] of ends.entries()) {
      const { nodeid: node } = fuse.fuse_entry_out.read(
        guest.view((await guest.request({ opcode: 'LOOKUP', body: ['a'] })).body),
      );
      expect(await set(0, page, { node })).toBe('ok');
      window.bytes[0] = 48 + round;
      await end();
      expect([seen(), guest.device.mappings]).toEqual(['........', 0]);
      expect(made.readFile('/a')[0]).toBe(48 + round);
    }
    expect(await set(0, page, { node: nodes.a })).toBe('ESTALE');
  });

  it('marks files for those who said that they look', async () => {
    const { guest, lookup } = await raw();
    expect((await lookup('a')).attr.flags & attrFlag.DAX).toBe(attrFlag.DAX);
    expect((await lookup('dir')).attr.flags).toBe(0);
    // Without MAP_ALIGNMENT nothing can be mapped.
    await guest.init(0xffff_ffff & ~(1 << 26));
    const body = [new Uint8Array(40)];
    expect((await guest.request({ opcode: 'SETUPMAPPING', body })).error).toBe('ENOSYS');
    expect((await guest.request({ opcode: 'REMOVEMAPPING', body: [new Uint8Array(4)] })).error).toBe(
      'ENOSYS',
    );
  });

  it('is of a size that can be', () => {
    const files = memoryFiles();
    for (const wrong of [
      { length: 100, alignment: page },
      { length: page, alignment: 512 },
      { length: 0, alignment: page },
    ]) {
      expect(() => fsDevice({ tag: 'a', files, window: { ...wrong, map() {}, unmap() {} } })).toThrow(
        UsageError,
      );
    }
    expect(() => memoryWindow(100)).toThrow(UsageError);
  });
});

describe('a window that takes its time', () => {
  /** One whose operations settle when they are told to, in their order. */
  function slow() {
    const done: string[] = [];
    const waiting: { name: string; settle: (error?: unknown) => void }[] = [];
    const later = (name: string) =>
      new Promise<void>((resolve, reject) => {
        waiting.push({
          name,
          settle(error) {
            done.push(error === undefined ? name : `${name} failed`);
            if (error === undefined) resolve();
            else reject(error);
          },
        });
      });
    const window: FsWindow = {
      length: 8 * page,
      alignment: page,
      map: ({ offset, length }) => later(`map ${offset / page}+${length / page}`),
      unmap: ({ offset, length }) => later(`unmap ${offset / page}+${length / page}`),
    };
    const settle = async (error?: unknown) => {
      for (let turns = 0; waiting.length === 0 && turns < 20; turns++) await new Promise(setImmediate);
      waiting.shift()?.settle(error);
    };
    return { window, done, settle, waiting };
  }

  it('is asked for one thing after the other', async () => {
    const { window, done, settle } = slow();
    const { set, remove, guest } = await raw({ window });
    const first = set(0, 3 * page);
    const second = remove([page, page]);
    for (let i = 0; i < 4; i++) await settle();
    expect([await first, await second]).toEqual(['ok', 'ok']);
    expect(done).toEqual(['map 0+3', 'unmap 0+3', 'map 0+1', 'map 2+1']);
    expect(guest.device.mappings).toBe(2);
  });

  it('may fail: the guest is told, and no file stays open', async () => {
    const { window, settle } = slow();
    const { set, guest, made } = await raw({ window });
    const failing = set(0, page);
    await settle(FsError.of('ENOSPC'));
    expect([await failing, guest.device.mappings]).toEqual(['ENOSPC', 0]);
    await guest.transport.writeStatus(0);
    made.remove('/a');
    expect(made.fileCount).toBe(4);
  });

  it('has what it mapped too late taken away', async () => {
    const { window, done, settle, waiting } = slow();
    const { set, guest, made } = await raw({ window });
    // After a reset there is no answer.
    void set(0, page);
    for (let turns = 0; waiting.length === 0 && turns < 20; turns++) await new Promise(setImmediate);
    await guest.transport.writeStatus(0);
    await settle();
    await settle();
    await vi.waitFor(() => expect(done).toHaveLength(2));
    expect([done, guest.device.mappings]).toEqual([['map 0+1', 'unmap 0+1'], 0]);
    made.remove('/a');
    await vi.waitFor(() => expect(made.fileCount).toBe(4));
  });
});
