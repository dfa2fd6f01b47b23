import { PeerError } from '../../errors.ts';
import { dataView } from '../../spec/data-view.ts';
import { type FuseClient, terminated } from './driver-session.ts';
import { readAttributes } from './spec-attribute-structs.ts';
import type { Attributes } from './spec-attributes.ts';
import { FsError } from './spec-errno.ts';
import { fileType, longestPath, rootNode } from './spec-fuse.ts';
import { fuse_attr_out, fuse_entry_out, fuse_getattr_in } from './spec-fuse-structs.ts';
import { decodeName } from './spec-names.ts';

/** A file that the device told of. */
export interface FoundNode {
  readonly id: number;
  readonly attributes: Attributes;
}

/** Links that are followed on one path, as Linux has it. */
const mostLinks = 40;

/** Reads `fuse_entry_out`; a number of 0 or the root's stands for nothing that can be found by a name. */
export function readEntry(answer: Uint8Array): FoundNode {
  const view = dataView(answer);
  const id = fuse_entry_out.field.nodeid.get(view);
  if (id === 0) throw new FsError('ENOENT');
  if (id === rootNode || id > Number.MAX_SAFE_INTEGER) {
    throw new PeerError('BAD_RESPONSE', `the file system device told of node ${id}`);
  }
  return { id, attributes: readAttributes(view, fuse_entry_out.field.attr.offset) };
}

/**
 * Finds files by their paths, which begin at the root whether or not they say so. Every node on the way is found anew and
 * forgotten afterwards: nothing is believed for longer than one operation.
 */
export class Paths {
  readonly #client: FuseClient;

  constructor(client: FuseClient) {
    this.#client = client;
  }

  /** Runs `work` with the node of a path. A link at its end is followed, unless told. */
  async at<T>(path: string, work: (node: FoundNode) => Promise<T>, follow = true): Promise<T> {
    const told: number[] = [];
    try {
      return await work(await this.#find(path, follow, told));
    } finally {
      await this.#forget(told);
    }
  }

  /** Runs `work` with the directory in which a path's last name is. */
  async within<T>(path: string, work: (directory: FoundNode, name: string) => Promise<T>): Promise<T> {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined || name === '..') throw new FsError('EBUSY', `${path} has no name at its end`);
    return this.at(names.join('/'), (directory) => work(directory, name));
  }

  async attributes(id: number): Promise<Attributes> {
    const answer = await this.#client.request('GETATTR', id, [fuse_getattr_in.encode({})]);
    return readAttributes(dataView(answer), fuse_attr_out.field.attr.offset);
  }

  async readLink(id: number): Promise<string> {
    return decodeName(await this.#client.request('READLINK', id, [], longestPath));
  }

  async #find(path: string, follow: boolean, told: number[]): Promise<FoundNode> {
    const root: FoundNode = { id: rootNode, attributes: await this.attributes(rootNode) };
    const way: FoundNode[] = [root];
    const names = namesOf(path).reverse();
    let links = 0;
    for (let name = names.pop(); name !== undefined; name = names.pop()) {
      if (name === '..') {
        if (way.length > 1) way.pop();
        continue;
      }
      const directory = way.at(-1) ?? root;
      const found = readEntry(await this.#client.request('LOOKUP', directory.id, [terminated(name)]));
      told.push(found.id);
      const isLink = (found.attributes.mode & fileType.MASK) === fileType.SYMLINK;
      if (!isLink || (names.length === 0 && !follow)) {
        way.push(found);
        continue;
      }
      if (++links > mostLinks) throw new FsError('ELOOP', path);
      const target = await this.readLink(found.id);
      if (target.startsWith('/')) way.length = 1;
      names.push(...namesOf(target).reverse());
      if (names.length > longestPath) throw new FsError('ENAMETOOLONG', path);
    }
    return way.at(-1) ?? root;
  }

  async #forget(told: readonly number[]): Promise<void> {
    for (const id of told) this.#client.forget(id);
    await this.#client.flush();
  }
}

const namesOf = (path: string): string[] => path.split('/').filter((name) => name !== '' && name !== '.');
