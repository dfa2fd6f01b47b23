import { type Device, device, type Json } from '../../device/device.ts';
import { UsageError } from '../../errors.ts';
import { offerOf } from './offer.ts';
import type { BlkOptions } from './options.ts';
import { RequestServer } from './request-server.ts';
import { blk, sectorSize } from './spec.ts';
import type { Zones, ZonesState } from './zones.ts';

export { type MemoryStorage, memoryStorage } from './memory-storage.ts';
export * from './options.ts';
export {
  type OverlayChange,
  type OverlayOptions,
  type OverlayStorage,
  overlayStorage,
  sparseStorage,
} from './overlay-storage.ts';
export type { Storage } from './storage.ts';
export type { ZonesState } from './zones.ts';

/** Zones are part of a snapshot: the storage's bytes mean nothing without their write pointers. */
const saveZones = (zones: Zones | undefined): Json => (zones === undefined ? null : { ...zones.save() });

function zonesFrom(state: Json): ZonesState {
  const { states, writePointers } = Object(state);
  const isNumbers = (value: unknown): value is number[] =>
    Array.isArray(value) && value.every((item) => typeof item === 'number');
  if (!isNumbers(states) || !isNumbers(writePointers)) {
    throw new UsageError('BAD_STATE', 'the saved state is not of a disk with zones');
  }
  return { states, writePointers };
}

/** A disk for a transport to attach, and what its owner can do with it. */
export interface BlkDevice extends Device<typeof blk> {
  /**
   * Tells the driver of the storage's present size.
   *
   * @throws {UsageError} BAD_STATE for a disk with zones.
   */
  updateCapacity(): void;
  /** The zones' states, to be given again with the storage; `undefined` for a disk without zones. */
  zonesState(): ZonesState | undefined;
  /** Makes a sequential zone, counted from 0, fail as a medium does. */
  failZone(zone: number, state: 'RDONLY' | 'OFFLINE'): void;
}

/**
 * A disk over a storage. It offers what the storage can do and the options allow.
 *
 * @example
 * const disk = blkDevice({ storage: memoryStorage(64 * 2 ** 20), id: 'scratch' });
 *
 * @throws {UsageError} BAD_ARGUMENT for options that contradict each other or the storage.
 * @spec 5.2.5.2 device: Device Types / Block Device / Device Initialization
 */
export function blkDevice(options: BlkOptions): BlkDevice {
  const offer = offerOf(options);
  const server = new RequestServer(options, offer);
  const disk = device(blk, {
    offers: offer.features,
    ...(options.reserved === undefined ? {} : { reserved: options.reserved }),
    queues: { requestq: { count: options.queues ?? 1, size: options.queueSize ?? 256 } },
    config: offer.config,
    serve: { requestq: (chain) => server.serve(chain) },
    legacyOffers: ['BARRIER'],
    negotiate(has, legacy) {
      if (!has('ZONED') && offer.zones?.writeRequired) {
        return 'did not accept ZONED, and the disk is host-managed';
      }
      // A legacy driver may have chosen the cache mode before: it stays.
      if (!legacy) disk.configSpace.update(server.negotiated(has));
      return undefined;
    },
    activate: (active) => server.activate(active, disk.config.writeback !== 0),
    writeConfig(field, value) {
      if (field === 'writeback') server.setWriteback(value !== 0);
    },
    reset() {
      server.reset();
      disk.configSpace.update({ ...offer.config, capacity: BigInt(server.capacity) });
    },
    resetQueue: () => server.drain(),
    save: () => saveZones(server.zones),
    restore(state) {
      if (server.zones !== undefined) server.zones.restore(zonesFrom(state));
      const capacity = BigInt(server.capacity);
      if (disk.config.capacity !== capacity) disk.updateConfig({ capacity });
    },
  });
  return Object.assign(disk, {
    updateCapacity(): void {
      if (offer.zones !== undefined) throw new UsageError('BAD_STATE', 'a disk with zones keeps its size');
      server.capacity = Math.floor(options.storage.size / sectorSize);
      disk.updateConfig({ capacity: BigInt(server.capacity) });
    },
    zonesState: () => server.zones?.save(),
    failZone(zone: number, state: 'RDONLY' | 'OFFLINE'): void {
      if (server.zones === undefined) throw new UsageError('BAD_STATE', 'this disk has no zones');
      server.zones.fail(zone, state);
    },
  });
}
