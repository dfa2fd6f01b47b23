import { memoryStorage, type Storage } from 'virtio/devices/blk';
import { HostError, UsageError } from 'virtio/errors';
import { openStorage } from 'virtio-node/storage';

import { usage } from '../exit-status.ts';
import type { DiskPlan } from './plan.ts';

/** A disk that is open. */
export interface OpenDisk {
  /** `undefined` for the scratch disk. */
  readonly path: string | undefined;
  readonly storage: Storage;
}

/** Bytes. */
const scratchSize = 64 * 2 ** 20;

/**
 * Opens the disks that were asked for, or else makes a scratch disk in memory: all of them, or none.
 *
 * @throws {CommandError} for a file that another process writes, or that is no image.
 */
export async function openDisks(plans: readonly DiskPlan[]): Promise<OpenDisk[]> {
  if (plans.length === 0) return [{ path: undefined, storage: memoryStorage(scratchSize) }];
  const disks: OpenDisk[] = [];
  try {
    for (const plan of plans) disks.push({ path: plan.path, storage: await openFile(plan) });
  } catch (error) {
    await closeDisks(disks);
    throw error;
  }
  return disks;
}

async function openFile({ path, readOnly, format }: DiskPlan): Promise<Storage> {
  try {
    return await openStorage(path, { readOnly, ...(format === undefined ? {} : { format }) });
  } catch (error) {
    // What is no address of an export was typed so.
    if (error instanceof UsageError) throw usage(`--disk ${error.message}`, error);
    if (!(error instanceof HostError) || error.code !== 'IN_USE') throw error;
    throw usage(`--disk ${path} is in use by another program; end that one, or give both ${path},ro`, error);
  }
}

/** Makes all that the guest has flushed stable and lets go of the files; a failure is thrown when all were tried. */
export async function closeDisks(disks: readonly OpenDisk[]): Promise<void> {
  const failures: unknown[] = [];
  for (const { storage } of disks) {
    try {
      if (!storage.readOnly) await storage.flush();
      await storage.close?.();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
