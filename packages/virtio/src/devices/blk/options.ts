import type { HostError } from '../../errors.ts';
import type { ReservedFeatureName } from '../../spec/features.ts';
import type { Storage } from './storage.ts';
import type { ZonesState } from './zones.ts';

/** What limits a command that names ranges: sectors of one range, and ranges in one request. */
export interface RangeLimits {
  readonly maxSectors?: number;
  readonly maxSegments?: number;
  /** Sectors; what a range had better be a multiple of. */
  readonly alignment?: number;
}

/** Zones over any storage. What the storage holds is in no zone before it is written through the device. */
export interface ZonedOptions {
  /** `drive-managed` disks keep their zones to themselves: a driver sees an ordinary disk. */
  readonly model: 'host-managed' | 'host-aware' | 'drive-managed';
  /** Sectors in a zone. */
  readonly zoneSectors: number;
  /** Sectors of a zone that can be written; all unless told. Host-managed disks only. */
  readonly zoneCapacity?: number;
  /** Zones at the start that are conventional; 0 unless told. */
  readonly conventionalZones?: number;
  /** Zones that can be open or active at a time; 0, no limit, unless told. Host-managed disks only. */
  readonly maxOpenZones?: number;
  readonly maxActiveZones?: number;
  /** Sectors; 0 for a disk that cannot append. A whole zone, or what a request can hold, unless told. */
  readonly maxAppendSectors?: number;
  /** Bytes; the block size unless told. */
  readonly writeGranularity?: number;
  /** What `zonesState` gave when the disk was last used; all zones are empty unless told. */
  readonly state?: ZonesState;
}

/** What a disk knows of its wear; the values of virtio_blk_lifetime that are not reserved. */
export interface Lifetime {
  /** 0 undefined, 1 normal, 2 warning, 3 urgent. */
  readonly preEolInfo: number;
  /** 0 undefined, 1 for up to 10 % … 10 for up to 100 %, 11 exceeded: SLC and MLC cells. */
  readonly estimateA: number;
  readonly estimateB: number;
}

/** What a block device is made of. */
export interface BlkOptions {
  readonly storage: Storage;
  /** As the storage is, unless told. */
  readonly readOnly?: boolean;
  /** Up to 20 ASCII characters that GET_ID answers with; empty unless told. */
  readonly id?: string;
  /** Request queues; 1 unless told. */
  readonly queues?: number;
  /** The largest queue size, in descriptors; 256 unless told. */
  readonly queueSize?: number;
  /** Bytes in a logical block: 512 times a power of two; 512 unless told. */
  readonly blockSize?: number;
  /** Bytes in one element of a request's data; unlimited unless told. */
  readonly sizeMax?: number;
  /** Elements in a request's data; what fits the queue beside header and status unless told. */
  readonly segMax?: number;
  readonly geometry?: { readonly cylinders: number; readonly heads: number; readonly sectors: number };
  readonly topology?: {
    /** Logical blocks in a physical one, as a power of two. */
    readonly physicalBlockExp?: number;
    /** Logical blocks, all three. */
    readonly alignmentOffset?: number;
    readonly minIoSize?: number;
    readonly optIoSize?: number;
  };
  /**
   * How writes are cached until a driver says otherwise: `writeback` (stable once flushed; unless told),
   * `writethrough` (stable when completed), or `unsafe`: no flush is offered, and a crash loses data.
   */
  readonly cache?: 'writeback' | 'writethrough' | 'unsafe';
  /** False for a disk that does not offer the command, though its storage could. */
  readonly discard?: RangeLimits | false;
  readonly writeZeroes?: RangeLimits | false;
  readonly secureErase?: RangeLimits | false;
  readonly zoned?: ZonedOptions;
  /** Asked for each GET_LIFETIME request. Absent: the feature is not offered. */
  readonly lifetime?: () => Lifetime;
  /** The reserved features to offer, instead of the usual ones. */
  readonly reserved?: readonly ReservedFeatureName[];
  /** Hears why a request ended with an I/O error. */
  readonly onError?: (error: HostError) => void;
}
