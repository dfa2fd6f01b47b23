import { UsageError } from 'virtio/errors';
import { failure } from '../host/failure.ts';
import { type CacheMode, cacheModes, cacheRules, listingCache } from './cache-modes.ts';
import { Descriptors } from './descriptors.ts';
import { FolderTree } from './folder-tree.ts';
import { IdMap, type IdMaps, type IdRange, sameIds } from './ids.ts';
import { AT, linux, O } from './linux.ts';
import { ended } from './names.ts';

/** How a folder is shared. */
export interface ShareOptions {
  /** Guests change nothing. */
  readonly readOnly?: boolean;
  /** `auto` unless told. */
  readonly cache?: CacheMode;
  /** The guest may hold writes back: for folders that nobody else writes to. */
  readonly writeback?: boolean;
  /** Extended attributes of users (`user.…`); others are never passed on. */
  readonly xattrs?: boolean;
  /** Locks hold against other guests and programs of the host; otherwise each guest has its own, which is quicker. */
  readonly locks?: boolean;
  /**
   * What becomes of mounts inside of the folder: a guest reads EACCES there, unless it may `enter` them as mounts of its
   * own.
   */
  readonly mounts?: 'refuse' | 'enter';
  /** Who is who. */
  readonly ids?: IdMaps;
  /** Descriptors that the share holds at most; nearly all that the process may have, unless told. */
  readonly descriptors?: number;
}

/**
 * Shares a folder of this machine: a tree for `fsDevice`. What a guest may do is what this process may, within the folder;
 * see README.md.
 *
 * @throws {HostError} NOT_FOUND, or IO_ERROR for what is no folder, may not be opened, or is not on Linux.
 * @throws {UsageError} BAD_ARGUMENT for ids in two ranges.
 */
export function shareFolder(path: string, options: ShareOptions = {}): FolderTree {
  const calls = linux();
  const { cache = 'auto', ids = ownIds(), readOnly = false } = options;
  if (!cacheModes.includes(cache)) throw new UsageError('BAD_ARGUMENT', `${cache} is no cache mode`);
  const users = new IdMap(ids.users ?? sameIds, ids.squash?.user);
  const groups = new IdMap(ids.groups ?? sameIds, ids.squash?.group);
  const root = calls.open(AT.FDCWD, ended(path), O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
  if (root < 0) throw failure(root, `the folder ${path} cannot be shared: give one that is there`);
  let descriptors: Descriptors | undefined;
  try {
    descriptors = new Descriptors(calls, options.descriptors);
    // Whoever may not look into it shares nothing.
    const readable = descriptors.reopen(root, O.DIRECTORY);
    if (readable < 0) throw failure(readable, `the folder ${path} cannot be read`);
    descriptors.close(readable);
    return new FolderTree(descriptors, root, {
      readOnly,
      cache: cacheRules(cache, options.writeback === true),
      listings: listingCache(cache),
      users,
      groups,
      xattrs: options.xattrs === true,
      locks: options.locks === true,
      mounts: options.mounts ?? 'refuse',
    });
  } catch (error) {
    calls.close(root);
    descriptors?.end();
    throw error;
  }
}

/** Root's are as they are; whoever else shares is the guest's root, and all that the guest makes is his. */
function ownIds(): IdMaps {
  const user = process.geteuid?.() ?? 0;
  const group = process.getegid?.() ?? 0;
  if (user === 0) return {};
  const own = (host: number): IdRange[] => [{ guest: 0, host, count: 1 }];
  return { users: own(user), groups: own(group), squash: { user, group } };
}
