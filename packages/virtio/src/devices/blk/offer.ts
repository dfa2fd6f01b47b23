import type { ConfigValue } from '../../device/device.ts';
import { UsageError } from '../../errors.ts';
import type { OwnFeatureNameOf } from '../../spec/device-type.ts';
import { isPowerOfTwo } from '../../spec/power-of-two.ts';
import type { BlkOptions, RangeLimits, ZonedOptions } from './options.ts';
import { type blk, sectorSize } from './spec.ts';
import { zoneModel } from './spec-zones.ts';
import type { ZoneLayout } from './zones.ts';

/** The limits of one command that names ranges, in sectors and ranges. */
export interface RangeRules {
  readonly maxSectors: number;
  readonly maxSegments: number;
  readonly alignment: number;
}

/** A device's options, all said, none in conflict. */
export interface BlkOffer {
  readonly features: readonly OwnFeatureNameOf<typeof blk>[];
  readonly config: ConfigValue<typeof blk>;
  readonly readOnly: boolean;
  /** Absent commands are not offered. */
  readonly discard?: RangeRules;
  readonly writeZeroes?: RangeRules;
  readonly secureErase?: RangeRules;
  /** Absent for a disk without zones, or one that keeps them to itself. */
  readonly zones?: ZoneLayout;
}

type Zoned = ConfigValue<typeof blk>['zoned'];

/** 2 GiB: what other devices take in one range. */
const defaultMaxSectors = 2 ** 22;
const defaultMaxSegments = 32;
/** Bytes in one element, where a zoned disk must name a limit. */
const zonedSizeMax = 2 ** 20;

export const noZones: Zoned = {
  zone_sectors: 0,
  max_open_zones: 0,
  max_active_zones: 0,
  max_append_sectors: 0,
  write_granularity: 0,
  model: zoneModel.NONE,
  unused2: new Uint8Array(3),
};

/**
 * What a disk offers: what its storage can do and its options allow, and nothing else.
 *
 * @throws {UsageError} BAD_ARGUMENT for options that contradict each other or the storage.
 * @spec 5.2.5.2 device: Device Types / Block Device / Device Initialization
 */
export function offerOf(options: BlkOptions): BlkOffer {
  const { storage, zoned, topology, geometry, lifetime } = options;
  const { queues = 1, queueSize = 256, cache = 'writeback' } = options;
  const blockSize = whole('blockSize', options.blockSize ?? sectorSize, sectorSize, 2 ** 31);
  if (!isPowerOfTwo(blockSize) || storage.size % blockSize !== 0) {
    throw bad(`blocks of ${blockSize} bytes do not fit a disk of ${storage.size}`);
  }
  whole('queues', queues, 1, 65535);
  const readOnly = options.readOnly ?? storage.readOnly;
  if (!readOnly && storage.readOnly) throw bad('the storage is read-only, so the disk must be');
  const hostManaged = zoned?.model === 'host-managed';
  const sizeMax = options.sizeMax ?? (zoned === undefined ? undefined : zonedSizeMax);
  const segMax = whole('segMax', options.segMax ?? Math.max(1, queueSize - 2), 1, 32768);
  const capacity = storage.size / sectorSize;
  const zones = zoned === undefined ? undefined : zoneLayout(zoned, capacity, blockSize);
  const zonedConfig =
    zoned === undefined || zones === undefined
      ? noZones
      : zonedConfigOf(zoned, zones, Math.floor(((sizeMax ?? 0) * segMax) / sectorSize));

  const rules = (limits: RangeLimits | false | undefined, can: boolean): RangeRules | undefined =>
    can && !readOnly && limits !== false ? rangeRules(limits ?? {}, blockSize) : undefined;
  // A zone is given back by its reset; a driver of a host-managed disk may not accept DISCARD.
  const discard = rules(options.discard, storage.discard !== undefined && !hostManaged);
  // Zeroes are written at a write pointer or not at all, which the command cannot say.
  const writeZeroes = rules(options.writeZeroes, !hostManaged);
  const erase = rules(options.secureErase, storage.secureErase !== undefined);
  const secureErase = erase && zones ? wholeZones(erase, zones.zoneSectors) : erase;

  return {
    features: [
      'SEG_MAX',
      'BLK_SIZE',
      ...when('SIZE_MAX', sizeMax !== undefined),
      ...when('GEOMETRY', geometry !== undefined),
      ...when('RO', readOnly),
      ...when('FLUSH', cache !== 'unsafe'),
      ...when('CONFIG_WCE', cache !== 'unsafe'),
      ...when('TOPOLOGY', topology !== undefined),
      ...when('MQ', queues > 1),
      ...when('DISCARD', discard !== undefined),
      ...when('WRITE_ZEROES', writeZeroes !== undefined),
      ...when('LIFETIME', lifetime !== undefined),
      ...when('SECURE_ERASE', secureErase !== undefined),
      ...when('ZONED', zoned !== undefined),
    ],
    readOnly,
    ...(discard === undefined ? {} : { discard }),
    ...(writeZeroes === undefined ? {} : { writeZeroes }),
    ...(secureErase === undefined ? {} : { secureErase }),
    ...(zones === undefined ? {} : { zones }),
    config: {
      capacity: BigInt(capacity),
      size_max: sizeMax === undefined ? 0 : whole('sizeMax', sizeMax, 1, 2 ** 32 - 1),
      seg_max: segMax,
      geometry: geometry ?? { cylinders: 0, heads: 0, sectors: 0 },
      blk_size: blockSize,
      topology: {
        physical_block_exp: topology?.physicalBlockExp ?? 0,
        alignment_offset: topology?.alignmentOffset ?? 0,
        min_io_size: topology?.minIoSize ?? 0,
        opt_io_size: topology?.optIoSize ?? 0,
      },
      writeback: cache === 'writeback' ? 1 : 0,
      unused0: 0,
      num_queues: queues > 1 ? queues : 0,
      max_discard_sectors: discard?.maxSectors ?? 0,
      max_discard_seg: discard?.maxSegments ?? 0,
      discard_sector_alignment: discard?.alignment ?? 0,
      max_write_zeroes_sectors: writeZeroes?.maxSectors ?? 0,
      max_write_zeroes_seg: writeZeroes?.maxSegments ?? 0,
      write_zeroes_may_unmap: Number(mayUnmap(options) && writeZeroes !== undefined),
      unused1: new Uint8Array(3),
      max_secure_erase_sectors: secureErase?.maxSectors ?? 0,
      max_secure_erase_seg: secureErase?.maxSegments ?? 0,
      secure_erase_sector_alignment: secureErase?.alignment ?? 0,
      zoned: zonedConfig,
    },
  };
}

/** True when a write zeroes command can give room back. */
const mayUnmap = ({ storage }: BlkOptions): boolean =>
  storage.sparse === true && storage.writeZeroes !== undefined;

type FeatureName = OwnFeatureNameOf<typeof blk>;
const when = (name: FeatureName, offered: boolean): FeatureName[] => (offered ? [name] : []);

function rangeRules(limits: RangeLimits, blockSize: number): RangeRules {
  const { maxSectors = defaultMaxSectors, maxSegments = defaultMaxSegments } = limits;
  return {
    maxSectors: whole('maxSectors', maxSectors, 1, 2 ** 32 - 1),
    maxSegments: whole('maxSegments', maxSegments, 1, 65536),
    alignment: whole('alignment', limits.alignment ?? blockSize / sectorSize, 1, 2 ** 32 - 1),
  };
}

/** Zones are erased whole. */
function wholeZones(rules: RangeRules, zoneSectors: number): RangeRules {
  const roundUp = (value: number): number => Math.ceil(value / zoneSectors) * zoneSectors;
  const most = Math.max(zoneSectors, Math.floor(rules.maxSectors / zoneSectors) * zoneSectors);
  return { ...rules, maxSectors: most, alignment: roundUp(rules.alignment) };
}

function zoneLayout(zoned: ZonedOptions, capacity: number, blockSize: number): ZoneLayout | undefined {
  if (zoned.model === 'drive-managed') return undefined;
  const writeRequired = zoned.model === 'host-managed';
  const { maxOpenZones = 0, maxActiveZones = 0, writeGranularity = blockSize } = zoned;
  const zoneSectors = whole('zoneSectors', zoned.zoneSectors, 1, 2 ** 32 - 1);
  if (!writeRequired && (maxOpenZones || maxActiveZones || zoned.zoneCapacity)) {
    throw bad('a host-aware disk has no limit of open or active zones, nor a zone capacity');
  }
  if (writeGranularity % sectorSize !== 0 || (zoneSectors * sectorSize) % writeGranularity !== 0) {
    throw bad(
      `a write granularity of ${writeGranularity} bytes does not fit zones of ${zoneSectors} sectors`,
    );
  }
  const zoneCapacity = whole('zoneCapacity', zoned.zoneCapacity ?? zoneSectors, 1, zoneSectors);
  if (
    (zoneCapacity * sectorSize) % writeGranularity !== 0 ||
    (capacity * sectorSize) % writeGranularity !== 0
  ) {
    throw bad(`a write granularity of ${writeGranularity} bytes leaves sectors that no write can reach`);
  }
  return {
    capacity,
    zoneSectors,
    zoneCapacity,
    conventional: whole('conventionalZones', zoned.conventionalZones ?? 0, 0, 2 ** 32),
    writeRequired,
    maxOpen: whole('maxOpenZones', maxOpenZones, 0, 2 ** 32 - 1),
    maxActive: whole('maxActiveZones', maxActiveZones, 0, 2 ** 32 - 1),
    writeGranularity: writeGranularity / sectorSize,
  };
}

function zonedConfigOf(zoned: ZonedOptions, zones: ZoneLayout, requestSectors: number): Zoned {
  const granules = Math.floor(Math.min(zones.zoneCapacity, requestSectors) / zones.writeGranularity);
  const most = granules * zones.writeGranularity;
  return {
    zone_sectors: zones.zoneSectors,
    max_open_zones: zones.maxOpen,
    max_active_zones: zones.maxActive,
    // Only sequential-write-required zones are appended to.
    max_append_sectors: zones.writeRequired
      ? whole('maxAppendSectors', zoned.maxAppendSectors ?? most, 0, requestSectors)
      : 0,
    write_granularity: zones.writeGranularity * sectorSize,
    model: zones.writeRequired ? zoneModel.HM : zoneModel.HA,
    unused2: new Uint8Array(3),
  };
}

function whole(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw bad(`${name} is ${value}; it must be between ${least} and ${most}`);
  }
  return value;
}

const bad = (message: string): UsageError => new UsageError('BAD_ARGUMENT', `blk: ${message}`);
