import { UsageError } from '../../errors.ts';
import { groupType } from '../../spec/admin.ts';
import { isByte } from '../../spec/is-byte.ts';
import type { Device } from '../device.ts';
import type { DeviceGroup } from './group.ts';
import { type PartsLimits, partsCapability, partsObject } from './parts-object.ts';
import { AdminServer } from './server.ts';

/** What an owner device administers. */
export interface AdministerOptions {
  /** Administration virtqueues, 1 unless told, and their largest size in descriptors, 64 unless told. */
  readonly queues?: { readonly count?: number; readonly size?: number };
  /** Groups that the device owns, beside the self group: at most one of a type. */
  readonly groups?: readonly DeviceGroup[];
  /** How many device parts objects the driver may have, where there is an SR-IOV group; 16 of each unless told. */
  readonly deviceParts?: PartsLimits;
}

/** More queues than that no driver could use. */
const mostQueues = 256;

/**
 * Gives a device administration virtqueues: it offers VIRTIO_F_ADMIN_VQ on transports that carry it (PCI),
 * with the self group and what its type has of capabilities and resource objects, and with other groups.
 *
 * @example
 * const owner = administer(blkDevice({ storage }), { groups: [new SriovGroup([first, second])] });
 * const pciFunction = new PciFunction(owner, host);
 *
 * @throws {UsageError} BAD_STATE when a transport has the device already; BAD_ARGUMENT for options that
 * contradict one another.
 */
export function administer<D extends Device>(device: D, options: AdministerOptions = {}): D {
  if (device.onConfigUpdate !== undefined || device.administration !== undefined) {
    throw new UsageError('BAD_STATE', `this ${device.type.name} device is attached or administered already`);
  }
  const { groups = [], deviceParts = { get: 16, set: 16 } } = options;
  const { count = 1, size = 64 } = options.queues ?? {};
  if (!Number.isInteger(count) || count < 1 || count > mostQueues || !(size >= 1 && size <= 32768)) {
    throw new UsageError('BAD_ARGUMENT', `${count} administration virtqueues of ${size} descriptors`);
  }
  if (!isByte(deviceParts.get) || !isByte(deviceParts.set)) {
    throw new UsageError('BAD_ARGUMENT', 'the limits of device parts objects are 0 to 255');
  }
  const hasParts = groups.some(({ type }) => type === groupType.SR_IOV);
  const { capabilities = [], objects = [] } = device.behaviour.resources ?? {};
  device.administration = new AdminServer({
    queues: { count, size },
    groups,
    capabilities: [...(hasParts ? [partsCapability(deviceParts)] : []), ...capabilities],
    objects: [...(hasParts ? [partsObject] : []), ...objects],
  });
  return device;
}
