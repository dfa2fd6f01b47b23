import { PeerError } from '../../errors.ts';
import { dataView } from '../../spec/data-view.ts';
import { readAttributes } from './spec-attribute-structs.ts';
import type { Attributes } from './spec-attributes.ts';
import { longestName } from './spec-fuse.ts';
import { fuse_dirent, fuse_entry_out } from './spec-fuse-structs.ts';
import { decodeName } from './spec-names.ts';

/** A name in a directory. */
export interface DirectoryItem {
  readonly name: string;
  readonly ino: number;
  /** The upper four bits of a mode, shifted down by 12; 0 where it is not known. */
  readonly type: number;
  /** Where they were asked for, and the device had them. */
  readonly attributes?: Attributes;
}

/** One item as the device told it. */
export interface ListedItem extends DirectoryItem {
  /** From where the listing goes on behind it: any 64 bits, as file systems have them. */
  readonly next: bigint;
  /** The node that the device told of: 0 for none. */
  readonly nodeId: number;
}

const wrong = (what: string): PeerError =>
  new PeerError('BAD_RESPONSE', `the file system device listed a directory with ${what}`);

/** Reads the answer to a READDIR, or a READDIRPLUS; what is cut off at its end is left out. */
export function readListing(answer: Uint8Array, withAttributes: boolean): ListedItem[] {
  const view = dataView(answer);
  const items: ListedItem[] = [];
  const before = withAttributes ? fuse_entry_out.size : 0;
  const { ino, off, namelen, type } = fuse_dirent.field;
  for (let start = 0; start + before + fuse_dirent.size <= answer.length; ) {
    const at = start + before;
    const nameAt = at + fuse_dirent.size;
    const length = namelen.get(view, at);
    if (length === 0 || length > longestName) throw wrong(`a name of ${length} bytes`);
    if (nameAt + length > answer.length) break;
    const name = decodeName(answer, nameAt, nameAt + length);
    if (name.includes('/') || name.includes('\0')) throw wrong(`the name ${JSON.stringify(name)}`);
    const nodeId = withAttributes ? fuse_entry_out.field.nodeid.get(view, start) : 0;
    items.push({
      name,
      ino: ino.get(view, at),
      type: type.get(view, at) & 0xf,
      next: view.getBigUint64(at + off.offset, true),
      nodeId,
      ...(nodeId === 0 ? {} : { attributes: readAttributes(view, start + fuse_entry_out.field.attr.offset) }),
    });
    start += before + ((fuse_dirent.size + length + 7) & ~7);
  }
  return items;
}
