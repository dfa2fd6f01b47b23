import { type FsDevice, fsDevice } from 'virtio/devices/fs';
import type { VirtioError } from 'virtio/errors';
import type { ReservedFeatureName } from 'virtio/spec';
import { type FolderTree, type ShareOptions, shareFolder } from 'virtio-node/files';
import { refused } from '../exit-status.ts';
import type { SharePlan } from './plan.ts';
import type { ServedShare } from './served.ts';

/** A folder that a guest has. */
export interface OpenShare extends Pick<SharePlan, 'folder' | 'tag' | 'readOnly'> {
  readonly device: FsDevice;
  close(): void;
}

/**
 * Shares the folders of a machine, all of them or none; those that nobody asked for as far as that goes.
 *
 * @throws {CommandError} for what cannot be shared.
 */
export function openShares(
  plans: readonly SharePlan[],
  onError: (tag: string, error: VirtioError) => void,
): OpenShare[] {
  const shares: OpenShare[] = [];
  try {
    for (const plan of plans) {
      const files = open(plan, '--share');
      if (files === undefined) continue;
      const { folder, tag, readOnly } = plan;
      const device = fsDevice({ tag, files, onError: (error) => onError(tag, error) });
      shares.push({ folder, tag, readOnly, device, close: () => files.close() });
    }
  } catch (error) {
    for (const share of shares) share.close();
    throw error;
  }
  return shares;
}

/** How a folder's device is to be made. */
export interface ServedQueues {
  readonly queues: number;
  readonly queueSize: number;
  readonly reserved: readonly ReservedFeatureName[];
}

/** Shares a folder with whoever attaches to it. @throws {CommandError} */
export function openServedShare(
  share: ServedShare,
  queues: ServedQueues,
  onError: (error: VirtioError) => void,
): OpenShare {
  const { folder, tag, readOnly, cache, writeback, xattrs, locks, submounts, users, groups } = share;
  const ids = users === undefined && groups === undefined ? {} : { ids: mapped(users, groups) };
  const options = { readOnly, cache, writeback, xattrs, locks, ...ids };
  const files = shared(folder, { ...options, mounts: submounts ? 'enter' : 'refuse' }, '--shared-dir');
  const device = fsDevice({ tag, files, ...queues, onError });
  return { folder, tag, readOnly, device, close: () => files.close() };
}

function mapped(users: ServedShare['users'], groups: ServedShare['groups']): ShareOptions['ids'] & object {
  return { ...(users === undefined ? {} : { users }), ...(groups === undefined ? {} : { groups }) };
}

/** `undefined` for a folder that nobody asked for and that cannot be shared. */
function open({ folder, readOnly, byDefault }: SharePlan, option: string): FolderTree | undefined {
  try {
    return shared(folder, { readOnly }, option);
  } catch (error) {
    if (byDefault) return undefined;
    throw error;
  }
}

function shared(folder: string, options: ShareOptions, option: string): FolderTree {
  try {
    return shareFolder(folder, options);
  } catch (error) {
    // What is no folder, or in two ranges, was typed so.
    throw refused(error, `${option}:`);
  }
}
