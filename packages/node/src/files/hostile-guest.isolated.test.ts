/** A hostile guest at a shared folder: FUSE requests of its own making, through the device. */
import { mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import {
  encodeName,
  errnoName,
  fs,
  fsDevice,
  fuse_create_in,
  fuse_entry_out,
  fuse_in_header,
  fuse_init_in,
  fuse_link_in,
  fuse_mknod_in,
  fuse_open_in,
  fuse_out_header,
  fuse_read_in,
  fuse_rename_in,
  fuseOpcode,
  openFs,
} from 'virtio/devices/fs';
import { open } from 'virtio/driver';
import { Loopback } from 'virtio/transports/loopback';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TemporaryFolder } from './folder.fixture.ts';
import { type FolderTree, type ShareOptions, shareFolder } from './index.ts';

type Opcode = keyof typeof fuseOpcode;
/** What a request answers: an error's name, and what stands behind the header. */
type Answer = readonly [error: string, body: DataView];

/** What is shared is a folder of it. */
let folder: TemporaryFolder;
let tree: FolderTree;
const errors: unknown[] = [];

function device(options: ShareOptions = {}): Loopback {
  tree = shareFolder(folder.at('shared'), { xattrs: true, locks: true, ...options });
  return new Loopback(fsDevice({ tag: 'shared', files: tree, onError: (error) => void errors.push(error) }));
}

/** A guest that sends what it likes. */
async function rawGuest(options?: ShareOptions): Promise<{
  ask(opcode: Opcode, node: number, ...body: (Uint8Array | string)[]): Promise<Answer>;
  close(): Promise<void>;
}> {
  const opened = await open(device(options), fs, { features: [], queueSize: 64 });
  let unique = 1n;
  const ask = async (opcode: Opcode, nodeid: number, ...body: (Uint8Array | string)[]): Promise<Answer> => {
    const parts = body.map((part) =>
      typeof part === 'string' ? Buffer.concat([encodeName(part), Buffer.alloc(1)]) : part,
    );
    const len = fuse_in_header.size + parts.reduce((sum, part) => sum + part.length, 0);
    unique += 2n;
    const header = fuse_in_header.encode({ len, opcode: fuseOpcode[opcode], unique, nodeid });
    const answer = await opened.queue('requestq').request(Buffer.concat([header, ...parts]), 4096);
    const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength);
    const error = fuse_out_header.field.error.get(view, 0);
    return [
      error === 0 ? 'ok' : errnoName(error),
      new DataView(answer.buffer, answer.byteOffset + fuse_out_header.size),
    ];
  };
  await ask('INIT', 0, fuse_init_in.encode({ major: 7, minor: 38, max_readahead: 65_536 }));
  return { ask, close: () => opened.close() };
}

const nodeOf = ([error, body]: Answer): number => {
  expect(error).toBe('ok');
  return Number(fuse_entry_out.field.nodeid.get(body, 0));
};

beforeEach(() => {
  errors.length = 0;
  folder = new TemporaryFolder();
  mkdirSync(folder.at('shared', 'inner'), { recursive: true });
  writeFileSync(folder.at('secret'), 'secret');
  writeFileSync(folder.at('shared', 'file'), 'file');
  symlinkSync('..', folder.at('shared', 'up'));
  symlinkSync(folder.at('secret'), folder.at('shared', 'link'));
});
afterEach(() => {
  tree.close();
  folder.remove();
  expect(errors).toEqual([]);
});

it('does not climb by names, forged numbers, links or renames', async () => {
  const { ask, close } = await rawGuest();
  const up = nodeOf(await ask('LOOKUP', 1, 'up'));
  const link = nodeOf(await ask('LOOKUP', 1, 'link'));
  const inner = nodeOf(await ask('LOOKUP', 1, 'inner'));
  const file = nodeOf(await ask('LOOKUP', 1, 'file'));
  const absolute = folder.at('secret');
  for (const name of ['..', '.', '../secret', 'up/secret', 'inner/../../secret', absolute, '/', '']) {
    for (const parent of [1, inner, up]) {
      const named = { flags: 2, mode: 0o100600 };
      expect((await ask('LOOKUP', parent, name))[0]).not.toBe('ok');
      expect((await ask('CREATE', parent, fuse_create_in.encode(named), name))[0]).not.toBe('ok');
      expect((await ask('MKNOD', parent, fuse_mknod_in.encode({ mode: 0o100600 }), name))[0]).not.toBe('ok');
      expect((await ask('SYMLINK', parent, name, 'x'))[0]).not.toBe('ok');
      expect((await ask('LINK', parent, fuse_link_in.encode({ oldnodeid: file }), name))[0]).not.toBe('ok');
      expect((await ask('UNLINK', parent, name))[0]).not.toBe('ok');
      expect((await ask('RMDIR', parent, name))[0]).not.toBe('ok');
      for (const [from, to] of [
        ['file', name],
        [name, 'moved'],
      ] as const) {
        expect((await ask('RENAME', 1, fuse_rename_in.encode({ newdir: parent }), from, to))[0]).not.toBe(
          'ok',
        );
      }
    }
  }
  expect((await ask('RENAME', 1, fuse_rename_in.encode({ newdir: up }), 'file', 'escaped'))[0]).toBe(
    'ENOTDIR',
  );
  for (const node of [up, link]) {
    expect((await ask('LOOKUP', node, 'secret'))[0]).toBe('ENOTDIR');
    expect((await ask('OPENDIR', node, fuse_open_in.encode({})))[0]).toBe('ENOTDIR');
    for (const flags of [0, 1, 2])
      expect((await ask('OPEN', node, fuse_open_in.encode({ flags })))[0]).toBe('EACCES');
  }
  for (const node of [0, 2 ** 31, 999]) expect((await ask('LOOKUP', node, 'file'))[0]).toBe('ESTALE');
  expect((await ask('READ', file, fuse_read_in.encode({ fh: 77, size: 10 })))[0]).toBe('EBADF');
  await close();
  expect(readdirSync(folder.at('shared')).sort()).toEqual(['file', 'inner', 'link', 'up']);
  expect(readdirSync(folder.path).sort()).toEqual(['secret', 'shared']);
});

it('makes no devices, and changes nothing that is read-only', async () => {
  const { ask, close } = await rawGuest();
  for (const mode of [0o020666, 0o060666]) {
    expect((await ask('MKNOD', 1, fuse_mknod_in.encode({ mode, rdev: 0x103 }), 'device'))[0]).toBe('EPERM');
  }
  await close();
  tree.close();
  const reader = await rawGuest({ readOnly: true });
  const file = nodeOf(await reader.ask('LOOKUP', 1, 'file'));
  const named = fuse_create_in.encode({ flags: 2, mode: 0o100600 });
  for (const answer of [
    await reader.ask('CREATE', 1, named, 'new'),
    await reader.ask('MKNOD', 1, fuse_mknod_in.encode({ mode: 0o100600 }), 'new'),
    await reader.ask('UNLINK', 1, 'file'),
    await reader.ask('RENAME', 1, fuse_rename_in.encode({ newdir: 1 }), 'file', 'other'),
    await reader.ask('OPEN', file, fuse_open_in.encode({ flags: 1 })),
    await reader.ask('OPEN', file, fuse_open_in.encode({ flags: 0o1000 })),
  ]) {
    expect(answer[0]).toBe('EROFS');
  }
  await reader.close();
  expect(readFileSync(folder.at('shared', 'file'), 'utf8')).toBe('file');
});

/** What this process has open of a folder. */
function openWithin(path: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(path) ? [target] : [];
    } catch {
      return []; // that of the listing itself
    }
  });
}

it('is a folder to our own driver, and nothing stays open behind it', async () => {
  const files = await openFs(device());
  const content = new Uint8Array(3_000_000).map((_, i) => i % 253);
  await files.writeFile('/inner/large', content);
  expect(Buffer.compare(await files.readFile('/inner/large'), content)).toBe(0);
  expect(Buffer.compare(readFileSync(folder.at('shared', 'inner', 'large')), content)).toBe(0);
  expect((await files.readdir('/', { attributes: true })).map(({ name }) => name).sort()).toEqual([
    ...['file', 'inner', 'link', 'up'],
  ]);
  const locked = await files.open('/file', { access: 'both' });
  await locked.lock({ type: 'write' });
  expect(openWithin(folder.path).length).toBeGreaterThan(1);
  await files.close();
  tree.close();
  expect(openWithin(folder.path)).toEqual([]);
});
