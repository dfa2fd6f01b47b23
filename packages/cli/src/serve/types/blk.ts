import { blkDevice, memoryStorage, type Storage } from 'virtio/devices/blk';
import { HostError } from 'virtio/errors';
import { openStorage } from 'virtio-node/storage';
import { refused, usage } from '../../exit-status.ts';
import type { ServePlan } from '../plan.ts';
import type { MakeDevice } from '../ready-device.ts';

/**
 * Elements in a request's data. A driver takes it for what fits, and front ends make queues smaller than they might: QEMU's
 * have 128 descriptors, two of which are a request's own.
 */
const segMax = 126;

export const make: MakeDevice = async (plan, { onError }) => {
  const storage = await openDisk(plan);
  const { queues, queueSize, reserved, serial: id, readOnly } = plan;
  const cache = plan.writeThrough ? 'writethrough' : 'writeback';
  return {
    device: blkDevice({ storage, queues, queueSize, reserved, id, readOnly, cache, segMax, onError }),
    async close() {
      if (!storage.readOnly) await storage.flush();
      await storage.close?.();
    },
  };
};

async function openDisk(plan: ServePlan): Promise<Storage> {
  const { blkFile, scratch, readOnly, direct, format } = plan;
  if (plan.null !== undefined) return nullStorage(plan.null);
  if (blkFile === undefined) return memoryStorage(scratch ?? 0);
  try {
    return await openStorage(blkFile, { readOnly, direct, ...(format === undefined ? {} : { format }) });
  } catch (error) {
    if (!(error instanceof HostError) || error.code !== 'IN_USE') throw refused(error, '--blk-file');
    throw usage(
      `--blk-file ${blkFile} is in use by another program; end that one, or give both --read-only`,
      error,
    );
  }
}

/** A disk of zeroes that forgets what is written: what is measured on it is the way there and back. */
function nullStorage(size: number): Storage {
  return {
    size,
    readOnly: false,
    immediate: true,
    read: (_, target) => void target.fill(0),
    write() {},
    flush() {},
  };
}
