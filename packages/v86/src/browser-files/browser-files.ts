import { UsageError } from 'virtio/errors';
import { lockForPage } from '../browser-lock.ts';
import { nameOf } from './failure.ts';
import { isName } from './stored-names.ts';
import { BrowserTree, type BrowserTreeOptions } from './tree.ts';

/** The folder of the page's private file system in which named trees are. */
const home = 'virtio-files';

/**
 * Opens a tree of files that is kept under a name in the browser's private file system (OPFS), or makes it: what
 * `fsDevice({ tag, files })` serves. It is one page's at a time. What the guest has synced survives a reload and a crash
 * of the page, with modes, owners, times, symbolic links and device nodes; there are no hard links.
 *
 * @throws {UsageError} BAD_ARGUMENT for a name that cannot be a folder's.
 * @throws {HostError} IN_USE when another page has it open; IO_ERROR where the browser has no such storage.
 */
export async function openBrowserFiles(name: string, options: BrowserTreeOptions = {}): Promise<BrowserTree> {
  checkName(name);
  const release = await lock(name);
  try {
    const all = await (await navigator.storage.getDirectory()).getDirectoryHandle(home, { create: true });
    const folder = await all.getDirectoryHandle(name, { create: true });
    return new BrowserTree(folder, options, { isOurs: true, release });
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * Deletes a tree and all that is in it; one that does not exist is deleted as well.
 *
 * @throws {HostError} IN_USE when a page has it open.
 */
export async function deleteBrowserFiles(name: string): Promise<void> {
  checkName(name);
  const release = await lock(name);
  try {
    const all = await (await navigator.storage.getDirectory()).getDirectoryHandle(home, { create: true });
    await all.removeEntry(name, { recursive: true });
  } catch (error) {
    if (nameOf(error) !== 'NotFoundError') throw error;
  } finally {
    release();
  }
}

/**
 * Shares a folder that the page has a handle of: one that the user has picked (`showDirectoryPicker`), as it is. Others
 * may change it meanwhile, and it gets no records: modes and owners last as long as the tree, and there are files and
 * folders only. Ask for the permission to write first, or say `readOnly`.
 */
export function browserFolder(
  folder: FileSystemDirectoryHandle,
  options: BrowserTreeOptions = {},
): BrowserTree {
  return new BrowserTree(folder, options, { isOurs: false, release: () => {} });
}

const lock = (name: string): Promise<() => void> =>
  lockForPage(`virtio-files:${name}`, `the files "${name}"`);

function checkName(name: string): void {
  if (isName(name)) return;
  throw new UsageError('BAD_ARGUMENT', `"${name}" is no name for a folder: take one without slashes`);
}
