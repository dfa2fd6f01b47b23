import { PeerError, UsageError } from '../../errors.ts';
import type { BlkRequests } from './driver-requests.ts';
import { sectorSize } from './spec.ts';
import { requestType } from './spec-requests.ts';
import {
  virtio_blk_zone_descriptor,
  virtio_blk_zone_report,
  type ZoneStateName,
  type ZoneTypeName,
  zoneState,
  zoneType,
} from './spec-zones.ts';

/** One zone as the device reports it; sectors. */
export interface Zone {
  readonly start: number;
  /** What can be written of it when it is empty. */
  readonly capacity: number;
  /** Where the next write goes; `undefined` where the zone has no write pointer that is valid. */
  readonly writePointer: number | undefined;
  readonly type: ZoneTypeName;
  readonly state: ZoneStateName;
}

/** What the disk says of its zones. */
export interface ZoneCharacteristics {
  readonly model: 'host-managed' | 'host-aware';
  /** Sectors. The last zone may be smaller. */
  readonly zoneSectors: number;
  /** 0 for no limit. */
  readonly maxOpenZones: number;
  readonly maxActiveZones: number;
  /** Sectors; 0 for a disk that cannot append. */
  readonly maxAppendSectors: number;
  /** Bytes. */
  readonly writeGranularity: number;
}

/** Zones that are reported to whoever asks for all: a device can claim any capacity. */
const mostZones = 2 ** 20;

/** Descriptors to ask for at a time. */
const reportedAtOnce = 64;

/** The zones of a disk. A zone is named by its first sector. */
export class BlkZones {
  readonly characteristics: ZoneCharacteristics;
  readonly #requests: BlkRequests;
  readonly #capacity: () => number;

  /** @internal `capacity` in sectors. */
  constructor(characteristics: ZoneCharacteristics, requests: BlkRequests, capacity: () => number) {
    this.characteristics = characteristics;
    this.#requests = requests;
    this.#capacity = capacity;
  }

  /**
   * The zones from the one that holds `sector`, at most `count` of them.
   *
   * @throws {PeerError} BAD_RESPONSE for a report that makes no sense.
   */
  async report(sector = 0, count: number = Number.POSITIVE_INFINITY): Promise<Zone[]> {
    const { zoneSectors } = this.characteristics;
    const capacity = this.#capacity();
    const first = Math.floor(sector / zoneSectors);
    const wanted = Math.min(count, Math.ceil(capacity / zoneSectors) - first);
    if (count === Number.POSITIVE_INFINITY && wanted > mostZones) {
      throw badReport(`it would have ${wanted} zones; take at most ${mostZones} at a time`);
    }
    const zones: Zone[] = [];
    while (zones.length < wanted) {
      const next = (first + zones.length) * zoneSectors;
      const part = await this.#reportSome(next, Math.min(wanted - zones.length, reportedAtOnce));
      if (part.length === 0) throw badReport('it is empty');
      for (const [index, { start }] of part.entries()) {
        const place = next + index * zoneSectors;
        if (start !== place) throw badReport(`a zone starts at ${start}, where one at ${place} must be`);
      }
      zones.push(...part);
    }
    return zones;
  }

  /** Opens a zone explicitly. */
  async open(zone: number): Promise<void> {
    await this.#manage(requestType.ZONE_OPEN, zone);
  }

  async close(zone: number): Promise<void> {
    await this.#manage(requestType.ZONE_CLOSE, zone);
  }

  /** Makes a zone full, however much was written to it. */
  async finish(zone: number): Promise<void> {
    await this.#manage(requestType.ZONE_FINISH, zone);
  }

  /** Empties a zone. */
  async reset(zone: number): Promise<void> {
    await this.#manage(requestType.ZONE_RESET, zone);
  }

  async resetAll(): Promise<void> {
    await this.#requests.send(requestType.ZONE_RESET_ALL, 0);
  }

  /**
   * Writes at a zone's write pointer; gives back the sector where that was.
   *
   * @throws {UsageError} BAD_ARGUMENT for a length that the disk cannot append at once.
   * @spec 5.2.6.1 driver: Device Types / Block Device / Device Operation
   */
  async append(zone: number, data: Uint8Array): Promise<number> {
    this.#checkStart(zone);
    const { maxAppendSectors, writeGranularity } = this.characteristics;
    const most = Math.min(maxAppendSectors * sectorSize, this.#requests.dataMax);
    if (data.length === 0 || data.length > most || data.length % writeGranularity !== 0) {
      throw new UsageError(
        'BAD_ARGUMENT',
        `${data.length} bytes to append; it must be a multiple of ${writeGranularity}, at most ${most}`,
      );
    }
    const answer = await this.#requests.send(requestType.ZONE_APPEND, zone, data, 8);
    return Number(new DataView(answer.buffer).getBigUint64(0, true));
  }

  /** Bytes to be written had better be checked first: a device may answer with less than an explanation. */
  checkWrite(sector: number, length: number): void {
    const { writeGranularity } = this.characteristics;
    if (length % writeGranularity !== 0 || (sector * sectorSize) % writeGranularity !== 0) {
      throw new UsageError(
        'BAD_ARGUMENT',
        `${length} bytes at sector ${sector} do not fit the write granularity of ${writeGranularity} bytes`,
      );
    }
  }

  async #manage(type: number, zone: number): Promise<void> {
    this.#checkStart(zone);
    await this.#requests.send(type, zone);
  }

  #checkStart(zone: number): void {
    const { zoneSectors } = this.characteristics;
    if (!Number.isSafeInteger(zone) || zone < 0 || zone >= this.#capacity() || zone % zoneSectors !== 0) {
      throw new UsageError('BAD_ARGUMENT', `no zone begins at sector ${zone}`);
    }
  }

  async #reportSome(sector: number, count: number): Promise<Zone[]> {
    const { size } = virtio_blk_zone_descriptor;
    const header = virtio_blk_zone_report.size;
    const most = Math.floor((this.#requests.dataMax - header) / size);
    const asked = Math.min(count, most);
    const length = header + asked * size;
    const answer = await this.#requests.send(requestType.ZONE_REPORT, sector, undefined, length);
    const view = new DataView(answer.buffer);
    const given = Number(virtio_blk_zone_report.field.nr_zones.get(view));
    if (given > asked) throw badReport(`it has ${given} zones where ${asked} fit`);
    return Array.from({ length: given }, (_, i) => zoneFrom(view, header + i * size));
  }
}

function zoneFrom(view: DataView, base: number): Zone {
  const { z_start, z_cap, z_wp, z_type, z_state } = virtio_blk_zone_descriptor.read(view, base);
  const state = nameOf(zoneState, z_state);
  const type = nameOf(zoneType, z_type);
  if (state === undefined || type === undefined) {
    throw badReport(`it has a zone of type ${z_type} in state ${z_state}`);
  }
  const pointed = state === 'EMPTY' || state === 'IOPEN' || state === 'EOPEN' || state === 'CLOSED';
  return {
    start: Number(z_start),
    capacity: Number(z_cap),
    writePointer: pointed ? Number(z_wp) : undefined,
    type,
    state,
  };
}

function nameOf<N extends string>(names: Readonly<Record<N, number>>, value: number): N | undefined {
  for (const name in names) if (names[name] === value) return name;
  return undefined;
}

function badReport(what: string): PeerError {
  const clause = 'device: Device Types / Block Device / Device Operation';
  return new PeerError(
    'BAD_RESPONSE',
    `the blk device gave a zone report that makes no sense: ${what}`,
    clause,
  );
}
