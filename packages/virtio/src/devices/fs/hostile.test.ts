import { describe, expect, it } from 'vitest';
import { status } from '../../spec/status.ts';
import { memoryFiles } from './memory-files.ts';
import { RawGuest, type RawRequest } from './raw-guest.fixture.ts';
import { type FuseOpcodeName, fuseOpcode, openFlag } from './spec-fuse.ts';
import { fuseRequests } from './spec-fuse-requests.ts';
import * as fuse from './spec-fuse-structs.ts';

const files = () => {
  const made = memoryFiles();
  made.writeFile('/file', 'content');
  made.writeFile('/dir/inner', 'more');
  return made;
};

const names = Object.keys(fuseRequests) as FuseOpcodeName[]; // The table has no other keys.
const answered = names.filter((name) => fuseRequests[name].silent !== true && name !== 'DESTROY');

/** Opens `/file` by hand: its node and its handle. */
async function opened(guest: RawGuest, flags: number = openFlag.RDWR) {
  const found = await guest.request({ opcode: 'LOOKUP', body: ['file'] });
  const node = fuse.fuse_entry_out.field.nodeid.get(guest.view(found.body));
  const open = guest.encode(fuse.fuse_open_in, { flags });
  const answer = await guest.request({ opcode: 'OPEN', node, body: [open] });
  return { node, fh: fuse.fuse_open_out.field.fh.get(guest.view(answer.body)) };
}

const needsReset = (guest: RawGuest): boolean =>
  (guest.transport.core.status & status.DEVICE_NEEDS_RESET) !== 0;

describe('malformed requests', () => {
  it.each(answered)('%s is refused when it is cut short or its answer has no room', async (name) => {
    const guest = await RawGuest.boot({ files: files() });
    const { in: form, least, out, names: strings = 0 } = fuseRequests[name];
    const size = least ?? form?.size ?? 0;
    if (size > 0) {
      const body = [new Uint8Array(size - 1)];
      expect(await guest.request({ opcode: name, body })).toMatchObject({ error: 'EINVAL', length: 16 });
    }
    if (out !== undefined) {
      const body = [new Uint8Array(form?.size ?? 0), ...Array.from({ length: strings }, () => 'x')];
      const answer = await guest.request({ opcode: name, body, room: 16 + out.size - 1 });
      expect(answer).toMatchObject({ error: 'EINVAL', length: 16, written: 16 });
    }
    expect(needsReset(guest)).toBe(false);
    expect(await guest.init()).toMatchObject({ error: 'ok' });
  });

  it.each(answered)('%s with a length in its header that lies is refused', async (name) => {
    const guest = await RawGuest.boot({ files: files() });
    const body = [new Uint8Array(fuseRequests[name].in?.size ?? 0)];
    for (const length of [0, 39, 1000, 0xffff_ffff]) {
      expect(await guest.request({ opcode: name, body, length })).toMatchObject({ error: 'EINVAL' });
    }
  });

  it.each([7, 19, 54, 4096, 0, 0xffff_ffff, 0x0100_0000])('opcode %i is not known', async (opcode) => {
    const guest = await RawGuest.boot({ files: files() });
    expect(await guest.request({ opcode })).toMatchObject({ error: 'ENOSYS', length: 16 });
    expect(needsReset(guest)).toBe(false);
  });

  it('is not answered before a session is begun, nor after it is ended', async () => {
    const guest = await RawGuest.boot({ files: files() }, { init: false });
    expect(await guest.request({ opcode: 'STATFS' })).toMatchObject({ error: 'EIO' });
    await guest.init();
    expect(await guest.request({ opcode: 'STATFS' })).toMatchObject({ error: 'ok' });
    expect(await guest.request({ opcode: 'DESTROY' })).toMatchObject({ error: 'ok' });
    expect(await guest.request({ opcode: 'STATFS' })).toMatchObject({ error: 'EIO' });
  });

  it('breaks the queue when nothing can be answered', async () => {
    for (const [bytes, room] of [
      [39, 100],
      [0, 100],
      [40, 15],
      [40, 0],
    ] as const) {
      const guest = await RawGuest.boot({ files: files() });
      const sent = new Uint8Array(bytes);
      if (bytes === 40) sent.set([40, 0, 0, 0, fuseOpcode.STATFS]);
      await expect(guest.send(sent, room)).rejects.toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
      expect(guest.errors).toMatchObject([{ code: 'BAD_REQUEST' }]);
      await guest.reopen();
      expect(await guest.request({ opcode: 'STATFS' })).toMatchObject({ error: 'ok' });
    }
  });

  it('is read wherever the driver cut it', async () => {
    const guest = await RawGuest.boot({ files: files() });
    for (const cuts of [[1, 1, 1], [39], [41, 3], [7, 16, 9, 40]]) {
      const found = await guest.request({ opcode: 'LOOKUP', body: ['file'], cuts });
      expect(found).toMatchObject({ error: 'ok', length: 144, written: 144 });
    }
  });

  it('of random bytes never breaks the device, and is answered with as many bytes as it says', async () => {
    const guest = await RawGuest.boot({ files: files() });
    let seed = 7;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    for (let round = 0; round < 1500; round++) {
      const opcode = answered[random(answered.length)] ?? 'LOOKUP';
      const body = Uint8Array.from({ length: random(160) }, () =>
        random(3) === 0 ? random(256) : random(4),
      );
      const answer = await guest.request({ opcode, body: [body], node: random(6), room: 16 + random(600) });
      expect(answer.written).toBe(answer.length);
      if (opcode === 'INIT' && answer.error !== 'ok') await guest.init();
    }
    expect(needsReset(guest)).toBe(false);
    expect(guest.errors).toEqual([]);
  });
});

describe('numbers that are forged or stale', () => {
  it('stand for nothing', async () => {
    const guest = await RawGuest.boot({ files: files() });
    for (const node of [0, 2, 77, Number.MAX_SAFE_INTEGER]) {
      expect(await guest.request({ opcode: 'LOOKUP', node, body: ['file'] })).toMatchObject({
        error: 'ESTALE',
      });
      const getattr = [guest.encode(fuse.fuse_getattr_in, {})];
      expect(await guest.request({ opcode: 'GETATTR', node, body: getattr })).toMatchObject({
        error: 'ESTALE',
      });
    }
    const { node, fh } = await opened(guest);
    for (const [at, handle] of [
      [node, 0],
      [node, fh + 1],
      [1, fh],
      [node, 2 ** 53],
    ] as const) {
      const body = [guest.encode(fuse.fuse_read_in, { fh: handle, size: 10 })];
      expect(await guest.request({ opcode: 'READ', node: at, body })).toMatchObject({ error: 'EBADF' });
      expect(await guest.request({ opcode: 'READDIR', node: at, body })).toMatchObject({ error: 'EBADF' });
    }
    const release = [guest.encode(fuse.fuse_release_in, { fh })];
    expect(await guest.request({ opcode: 'RELEASE', node, body: release })).toMatchObject({ error: 'ok' });
    expect(await guest.request({ opcode: 'RELEASE', node, body: release })).toMatchObject({ error: 'EBADF' });
    expect(guest.device.openFiles).toBe(0);
  });

  it('are not given twice', async () => {
    const guest = await RawGuest.boot({ files: files() });
    const find = async (): Promise<number> => {
      const { body } = await guest.request({ opcode: 'LOOKUP', body: ['file'] });
      return fuse.fuse_entry_out.field.nodeid.get(guest.view(body));
    };
    const first = await find();
    await forget(guest, first, 1);
    const second = await find();
    expect(second).toBeGreaterThan(first);
    await guest.init();
    expect(await find()).toBeGreaterThan(second);
  });
});

const forget = (guest: RawGuest, node: number, nlookup: number) =>
  guest.request({
    ...{ opcode: 'FORGET', queue: 'hiprio', room: 0, node },
    body: [guest.encode(fuse.fuse_forget_in, { nlookup })],
  });

describe('counts of lookups', () => {
  it('are exact, and a file is known until as many are forgotten', async () => {
    const guest = await RawGuest.boot({ files: files() });
    const look = () => guest.request({ opcode: 'LOOKUP', body: ['file'] });
    const [{ body }] = await Promise.all([look(), look(), look()]);
    const node = fuse.fuse_entry_out.field.nodeid.get(guest.view(body));
    expect(guest.device.knownFiles).toBe(2);
    await forget(guest, node, 2);
    expect(guest.device.knownFiles).toBe(2);
    const batch = [
      guest.encode(fuse.fuse_batch_forget_in, { count: 2 }),
      guest.encode(fuse.fuse_forget_one, { nodeid: node, nlookup: 1 }),
      guest.encode(fuse.fuse_forget_one, { nodeid: 999, nlookup: 1 }),
    ];
    await guest.request({ opcode: 'BATCH_FORGET', queue: 'hiprio', room: 0, body: batch });
    expect(guest.device.knownFiles).toBe(1);
  });

  it.each([2, 1000, 2 ** 53 - 1])('forgotten %i times too often do no harm', async (times) => {
    const guest = await RawGuest.boot({ files: files() });
    const { node, fh } = await opened(guest);
    await forget(guest, node, times);
    await forget(guest, 1, times);
    // It is open, so it stays.
    const read = [guest.encode(fuse.fuse_read_in, { fh, size: 7 })];
    expect((await guest.request({ opcode: 'READ', node, body: read })).body.length).toBe(7);
    await guest.request({ opcode: 'RELEASE', node, body: [guest.encode(fuse.fuse_release_in, { fh })] });
    expect(guest.device.knownFiles).toBe(1);
    expect(await guest.request({ opcode: 'LOOKUP', body: ['file'] })).toMatchObject({ error: 'ok' });
  });

  it('in a batch that says more than it holds are those it holds', async () => {
    const guest = await RawGuest.boot({ files: files() });
    const { body } = await guest.request({ opcode: 'LOOKUP', body: ['file'] });
    const nodeid = fuse.fuse_entry_out.field.nodeid.get(guest.view(body));
    const one = guest.encode(fuse.fuse_forget_one, { nodeid, nlookup: 1 });
    const batch = [guest.encode(fuse.fuse_batch_forget_in, { count: 0xffff_ffff }), one, one.subarray(0, 9)];
    await guest.request({ opcode: 'BATCH_FORGET', queue: 'hiprio', room: 0, body: batch });
    expect(guest.device.knownFiles).toBe(1);
    expect(needsReset(guest)).toBe(false);
  });

  it('of more files than one request of any other kind has bytes for are all taken', async () => {
    const guest = await RawGuest.boot({ files: files() });
    const { body } = await guest.request({ opcode: 'LOOKUP', body: ['file'] });
    const nodeid = fuse.fuse_entry_out.field.nodeid.get(guest.view(body));
    const others = Array.from({ length: 6000 }, () =>
      guest.encode(fuse.fuse_forget_one, { nodeid: 5000, nlookup: 1 }),
    );
    const batch = [
      guest.encode(fuse.fuse_batch_forget_in, { count: 6001 }),
      ...others,
      guest.encode(fuse.fuse_forget_one, { nodeid, nlookup: 1 }),
    ];
    await guest.request({ opcode: 'BATCH_FORGET', queue: 'hiprio', room: 0, body: batch });
    expect(guest.device.knownFiles).toBe(1);
  });
});

describe('names', () => {
  it.each([
    ['', 'EINVAL'],
    ['.', 'EINVAL'],
    ['..', 'EINVAL'],
    ['a/b', 'EINVAL'],
    ['/', 'EINVAL'],
    ['../file', 'EINVAL'],
    ['x'.repeat(256), 'ENAMETOOLONG'],
    ['x'.repeat(3000), 'ENAMETOOLONG'],
    ['x'.repeat(255), 'ENOENT'],
    ['...', 'ENOENT'],
  ])('%j reads %s', async (name, error) => {
    const guest = await RawGuest.boot({ files: files() });
    expect(await guest.request({ opcode: 'LOOKUP', body: [name] })).toMatchObject({ error });
    const mkdir = guest.encode(fuse.fuse_mkdir_in, { mode: 0o755 });
    const made = await guest.request({ opcode: 'MKDIR', body: [mkdir, name] });
    expect(made).toMatchObject({ error: error === 'ENOENT' ? 'ok' : error });
    const rename = guest.encode(fuse.fuse_rename_in, { newdir: 1 });
    const moved = await guest.request({ opcode: 'RENAME', body: [rename, 'file', name] });
    expect(moved).toMatchObject({ error: error === 'ENOENT' ? 'EISDIR' : error });
  });

  it('without a NUL behind them are none', async () => {
    const guest = await RawGuest.boot({ files: files() });
    const bare = Uint8Array.of(0x66, 0x69, 0x6c, 0x65);
    expect(await guest.request({ opcode: 'LOOKUP', body: [bare] })).toMatchObject({ error: 'EINVAL' });
    expect(await guest.request({ opcode: 'SYMLINK', body: ['link', bare] })).toMatchObject({
      error: 'EINVAL',
    });
  });
});

describe('lengths and offsets', () => {
  it.each<[string, RawRequest['opcode'], object, number, string]>([
    ['a read of more than there is room for', 'READ', { size: 5000 }, 4096, 'EINVAL'],
    ['a read of more than was agreed on', 'READ', { size: 2 ** 20 + 1 }, 2 ** 21, 'EINVAL'],
    ['a read from beyond all files', 'READ', { size: 1, offset: 2 ** 60 }, 4096, 'EINVAL'],
    ['a write of more than came', 'WRITE', { size: 100 }, 4096, 'EINVAL'],
    ['a write beyond all files', 'WRITE', { size: 4, offset: 2 ** 53 - 2 }, 4096, 'EFBIG'],
  ])('%s', async (_, opcode, fields, room, error) => {
    const guest = await RawGuest.boot({ files: files() });
    const { node, fh } = await opened(guest);
    const given = { fh, ...fields };
    const body =
      opcode === 'READ'
        ? [guest.encode(fuse.fuse_read_in, given)]
        : [guest.encode(fuse.fuse_write_in, given), 'abc'];
    expect(await guest.request({ opcode, node, body, room })).toMatchObject({ error, length: 16 });
  });

  it('at which a listing never stood give what comes behind them, or nothing', async () => {
    const guest = await RawGuest.boot({ files: files() });
    const open = await guest.request({ opcode: 'OPENDIR', body: [guest.encode(fuse.fuse_open_in, {})] });
    const fh = fuse.fuse_open_out.field.fh.get(guest.view(open.body));
    for (const opcode of ['READDIR', 'READDIRPLUS'] as const) {
      for (const offset of [1, 2, 3, 5, 1e6, 2 ** 53 - 1]) {
        const body = [guest.encode(fuse.fuse_read_in, { fh, offset, size: 4000 })];
        const answer = await guest.request({ opcode, body });
        expect(answer.error).toBe('ok');
        if (offset >= 5) expect(answer.body.length).toBe(0);
      }
      const body = [guest.encode(fuse.fuse_read_in, { fh, offset: 2 ** 63, size: 4000 })];
      expect(await guest.request({ opcode, body })).toMatchObject({ error: 'EINVAL' });
      const tooSmall = [guest.encode(fuse.fuse_read_in, { fh, size: 20 })];
      expect(await guest.request({ opcode, body: tooSmall })).toMatchObject({ error: 'ok', length: 16 });
    }
  });
});

describe('what a guest can make its device remember', () => {
  it('is bounded: files, open files, and who holds locks', async () => {
    const tree = files();
    for (let i = 0; i < 20; i++) tree.writeFile(`/many/${i}`, '');
    const guest = await RawGuest.boot({
      files: tree,
      limits: { nodes: 8, openFiles: 4, lockOwners: 2 },
    });
    const { node, fh } = await opened(guest);
    const { body } = await guest.request({ opcode: 'LOOKUP', body: ['many'] });
    const many = fuse.fuse_entry_out.field.nodeid.get(guest.view(body));
    const found: string[] = [];
    for (let i = 0; i < 20; i++) {
      found.push((await guest.request({ opcode: 'LOOKUP', node: many, body: [`${i}`] })).error);
    }
    expect(found.filter((error) => error === 'ok').length).toBe(5);
    expect(new Set(found)).toEqual(new Set(['ok', 'ENFILE']));
    expect(guest.device.knownFiles).toBe(8);

    const opens: string[] = [];
    const open = [guest.encode(fuse.fuse_open_in, {})];
    for (let i = 0; i < 6; i++) opens.push((await guest.request({ opcode: 'OPENDIR', body: open })).error);
    expect(opens).toEqual(['ok', 'ok', 'ok', 'ENFILE', 'ENFILE', 'ENFILE']);

    const locks: string[] = [];
    for (const owner of [1n, 2n, 3n]) {
      const lock = guest.encode(fuse.fuse_lk_in, { fh, owner, lk: { start: 0, end: 9, type: 0, pid: 1 } });
      locks.push((await guest.request({ opcode: 'SETLK', node, body: [lock] })).error);
    }
    expect(locks).toEqual(['ok', 'ok', 'ENOLCK']);
    await guest.transport.writeStatus(0);
    expect(guest.device.openFiles).toBe(0);
    expect(tree.lockCount).toBe(0);
  });
});

describe('the queues', () => {
  const high = 'Device Operation: High Priority Queue';
  it.each([
    ['STATFS', 'hiprio', 100],
    ['LOOKUP', 'hiprio', 200],
    ['FORGET', 'requestq', 0],
    ['INTERRUPT', 'requestq', 100],
    ['BATCH_FORGET', 'requestq', 0],
  ] as const)('%s in the %s queue breaks it', async (opcode, queue, room) => {
    const guest = await RawGuest.boot({ files: files() });
    const sent = guest.request({ opcode, queue, room, body: [new Uint8Array(8)] });
    await expect(sent).rejects.toMatchObject({ code: 'DEVICE_NEEDS_RESET' });
    expect(guest.errors).toMatchObject([
      {
        code: 'BAD_REQUEST',
        clause: `driver: Device Types / File System Device / Device Operation / ${high}`,
      },
    ]);
  });
});
