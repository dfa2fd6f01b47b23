import { openSync, readdirSync, readFileSync, readlinkSync, truncateSync, writeFileSync } from 'node:fs';
import type { Descriptor } from 'virtio/channel';
import { type FileTree, type FsWindow, fsDevice, memoryFiles, openFs } from 'virtio/devices/fs';
import { UsageError } from 'virtio/errors';
import { LentWindow, VhostUserServer } from 'virtio/vhost-user';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { listenUnix, NodeDescriptors } from '../host/index.ts';
import { openDescriptors } from '../host/open-things.fixture.ts';
import { freshPath } from '../host/pair.fixture.ts';
import { connectVhostUser } from '../vhost-user/connect.ts';
import { TemporaryFolder } from './folder.fixture.ts';
import { shareFolder } from './share-folder.ts';
import { lentFolderWindow, lentMemoryWindow } from './windows.ts';

const page = 4096;
const host = new NodeDescriptors();
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

/** A tree behind a socket of the system's, and a driver that sees its window. */
async function served<N extends object, F extends object>(
  files: FileTree<N, F>,
  makeWindow: (lent: LentWindow) => FsWindow<F>,
) {
  const lent = new LentWindow(0, 64 * page);
  const share = fsDevice({ tag: 'a', files, window: makeWindow(lent) });
  const path = freshPath();
  const server = new VhostUserServer(share, host, { windows: [lent] });
  const listening = listenUnix(path, (channel) => server.serve(channel));
  endings.push(
    () => listening.close(),
    () => server.close(),
  );
  const transport = await connectVhostUser(path, { deviceId: 26, memory: 2 ** 22 });
  endings.push(() => transport.close());
  const window = await transport.sharedMemory(0);
  return { lent, share, transport, window, server, mounted: await openFs(transport, { window }) };
}

/** What is in a mapping. */
function seen(
  mapping: { read(offset: number, target: Uint8Array): void },
  offset: number,
  length: number,
): string {
  const target = new Uint8Array(length);
  mapping.read(offset, target);
  return text(target);
}

/** Descriptors that this process has of files in a folder. */
function held(folder: TemporaryFolder): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // the one that the list itself was read by
    }
  });
  return links.filter((link) => link.startsWith(folder.path)).length;
}

describe('the window of a folder', () => {
  it('shows the files themselves', async () => {
    const folder = new TemporaryFolder();
    endings.push(() => folder.remove());
    writeFileSync(folder.at('f'), 'a'.repeat(2 * page));
    const tree = shareFolder(folder.path);
    endings.push(() => tree.close());
    const { mounted, share, lent, window } = await served(tree, (of) => lentFolderWindow(of, host));
    const file = await mounted.open('f', { access: 'both' });
    const mapping = await file.map({ length: 2 * page, writable: true });
    expect([seen(mapping, page - 1, 3), lent.mappings, window?.mappings]).toEqual(['aaa', 1, 1]);
    mapping.write(page, Buffer.from('through'));
    expect(readFileSync(folder.at('f'), 'utf8').slice(page, page + 8)).toBe('througha');
    writeFileSync(folder.at('f'), 'from the host', { flag: 'r+' });
    expect(seen(mapping, 0, 13)).toBe('from the host');
    const copy = await mounted.open('f');
    const second = await copy.map({ length: page, from: page });
    expect(seen(second, 0, 7)).toBe('through');
    expect(() => second.write(0, Buffer.from('x'))).toThrow(UsageError);
    // Cut off beneath: the driver reads an error, and nobody dies of it.
    truncateSync(folder.at('f'), 100);
    expect(seen(mapping, 0, 13)).toBe('from the host');
    expect(() => seen(mapping, 0, 200)).toThrow(expect.objectContaining({ code: 'IO_ERROR' }));
    expect(() => seen(second, 0, 1)).toThrow(expect.objectContaining({ code: 'IO_ERROR' }));
    await Promise.all([mapping.close(), second.close()]);
    expect([share.mappings, lent.mappings, window?.mappings]).toEqual([0, 0, 0]);
    await mounted.close();
  });

  it('leaves nothing behind, however it ends', async () => {
    const folder = new TemporaryFolder();
    endings.push(() => folder.remove());
    writeFileSync(folder.at('f'), 'a'.repeat(page));
    const [before, filesBefore] = [openDescriptors(), held(folder)];
    expect(filesBefore).toBe(0);
    for (const how of ['closed', 'reset', 'gone'] as const) {
      const tree = shareFolder(folder.path);
      endings.push(() => tree.close());
      const { mounted, share, transport, server } = await served(tree, (of) => lentFolderWindow(of, host));
      const file = await mounted.open('f');
      await file.map({ length: page });
      await file.map({ length: page });
      expect(share.mappings).toBe(2);
      if (how === 'closed') await mounted.close();
      else if (how === 'reset') await transport.writeStatus(0);
      else server.close();
      await vi.waitFor(() => expect(share.mappings).toBe(0));
      for (const end of endings.splice(1).reverse()) await end();
      await vi.waitFor(() => expect([openDescriptors(), held(folder)]).toEqual([before, 0]));
    }
  });

  it('is no memory for the device, should the front end lend it back', async () => {
    const folder = new TemporaryFolder();
    endings.push(() => folder.remove());
    writeFileSync(folder.at('f'), 'a'.repeat(page));
    const tree = shareFolder(folder.path);
    endings.push(() => tree.close());
    const { mounted, transport } = await served(tree, (of) => lentFolderWindow(of, host));
    const file = await mounted.open('f', { access: 'both' });
    await file.map({ length: page, writable: true });
    // As QEMU does: to a guest it is memory like any other.
    const lend = async (descriptor: Descriptor, at: bigint): Promise<void> => {
      const region = { memory_size: BigInt(page), mmap_offset: 0n, guest_phys_addr: at, userspace_addr: at };
      await transport.session.requests.tell('ADD_MEM_REG', { region }, [descriptor]);
      descriptor.close();
    };
    const mapped = () => readFileSync('/proc/self/maps', 'utf8').split(folder.path).length - 1;
    await lend(host.adopt(openSync(folder.at('f'), 'r+')), 2n ** 40n);
    expect(mapped()).toBe(0);
    writeFileSync(folder.at('other'), 'a'.repeat(page));
    await lend(host.adopt(openSync(folder.at('other'), 'r+')), 2n ** 41n);
    expect(mapped()).toBe(1);
    truncateSync(folder.at('f'), 0);
    await mounted.close();
  });

  it('tells the guest when the front end refuses', async () => {
    const folder = new TemporaryFolder();
    endings.push(() => folder.remove());
    writeFileSync(folder.at('f'), 'a'.repeat(page));
    const tree = shareFolder(folder.path);
    endings.push(() => tree.close());
    const { mounted, lent, window } = await served(tree, (of) => lentFolderWindow(of, host));
    const file = await mounted.open('f');
    vi.spyOn(window!, 'map').mockReturnValueOnce(false); // It is there: the device has one.
    await expect(file.map({ length: page })).rejects.toMatchObject({ code: 'EIO' });
    expect(lent.mappings).toBe(0);
    const mapping = await file.map({ length: page });
    expect(seen(mapping, 0, 1)).toBe('a');
    await mounted.close();
  });
});

describe('the window of files in memory', () => {
  it('is one piece of memory, in which they stand', async () => {
    const files = memoryFiles();
    files.writeFile('/f', 'in memory');
    const made: { close(): void }[] = [];
    const { mounted, lent, share, transport } = await served(files, (of) => {
      const window = lentMemoryWindow(of, host);
      made.push(window);
      return window;
    });
    const file = await mounted.open('f', { access: 'both' });
    const mapping = await file.map({ length: 9, writable: true });
    expect([seen(mapping, 0, 9), lent.mappings, share.mappings]).toEqual(['in memory', 1, 1]);
    mapping.write(0, Buffer.from('IN'));
    expect(text(files.readFile('/f'))).toBe('IN memory');
    // Closed too early: it is given back when nothing stands in it any more.
    for (const window of made) window.close();
    await expect(file.map({ length: 9 })).rejects.toMatchObject({ code: 'EIO' });
    mapping.write(3, Buffer.from('MEM'));
    await transport.writeStatus(0);
    expect(text(files.readFile('/f'))).toBe('IN MEMory');
    expect(() => seen(mapping, 0, 1)).toThrow(expect.objectContaining({ code: 'IO_ERROR' }));
    for (const window of made) window.close();
  });

  it('is at most one view long', () => {
    expect(() => lentMemoryWindow(new LentWindow(0, 2 ** 33), host)).toThrow(UsageError);
  });
});
