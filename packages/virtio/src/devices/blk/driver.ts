import { inOneGeneration } from '../../driver/config.ts';
import { open } from '../../driver/open.ts';
import type { OpenDevice } from '../../driver/open-device.ts';
import type { FeatureChoice, NegotiatedDevice, OpenOptions } from '../../driver/options.ts';
import type { Transport } from '../../driver/transport.ts';
import { PeerError, UsageError } from '../../errors.ts';
import type { OwnFeatureNameOf } from '../../spec/device-type.ts';
import { type RangeCommand, rangeRequests } from './driver-ranges.ts';
import { BlkRequests } from './driver-requests.ts';
import { BlkZones } from './driver-zones.ts';
import { blk, sectorSize, virtio_blk_config, virtio_blk_zoned_characteristics } from './spec.ts';
import { idLength, requestType, virtio_blk_lifetime } from './spec-requests.ts';
import { zoneModel } from './spec-zones.ts';

export { BlkStatusError } from './driver-requests.ts';
export type { BlkZones, Zone, ZoneCharacteristics } from './driver-zones.ts';

/** How a disk is opened. */
export interface OpenBlkOptions
  extends Pick<OpenOptions<typeof blk>, 'reserved' | 'queueSize' | 'indirectPolicy' | 'onFailure'> {
  /** Request queues to use, if the disk has as many; 1 unless told. */
  readonly queues?: number;
  /** Features to leave alone, though the disk offers them. */
  readonly without?: readonly OwnFeatureNameOf<typeof blk>[];
  /** The disk has another size now; sectors. */
  readonly onCapacityChange?: (capacity: number) => void;
}

/** What a disk says of its wear. */
export interface BlkLifetime {
  /** 0 undefined, 1 normal, 2 warning, 3 urgent. */
  readonly preEolInfo: number;
  /** 0 undefined, 1 for up to 10 % … 10 for up to 100 %, 11 exceeded: SLC and MLC cells. */
  readonly estimateA: number;
  readonly estimateB: number;
}

/** Pieces of one `read` or `write` that are under way at a time. */
const piecesAtOnce = 8;

/** A disk that is open. Sectors are 512 bytes, whatever its block size. */
export class OpenBlk {
  readonly device: OpenDevice<typeof blk>;
  /** The disk's zones; `undefined` for a disk without. */
  readonly zones: BlkZones | undefined;
  readonly #requests: BlkRequests;
  readonly #writing = new Set<Promise<void>>();
  #capacity: number;

  /** @internal Use {@link openBlk}. */
  constructor(device: OpenDevice<typeof blk>, requests: BlkRequests) {
    this.device = device;
    this.#requests = requests;
    this.#capacity = Number(device.config.capacity ?? 0n);
    this.zones = zonesOf(device, requests, () => this.#capacity);
  }

  /** Sectors. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Bytes in a logical block. */
  get blockSize(): number {
    return (this.device.has('BLK_SIZE') && this.device.config.blk_size) || sectorSize;
  }

  get readOnly(): boolean {
    return this.device.has('RO');
  }

  /** False when a write is stable as soon as it completes. */
  get writeback(): boolean {
    if (this.device.has('CONFIG_WCE')) return this.device.config.writeback !== 0;
    return this.device.has('FLUSH');
  }

  /**
   * Chooses how writes are cached. What was written before may still be volatile: `flush`.
   *
   * @throws {UsageError} NOT_NEGOTIATED when the disk does not let its driver choose.
   */
  async setWriteback(writeback: boolean): Promise<void> {
    this.#need('CONFIG_WCE');
    await this.device.writeConfig('writeback', writeback ? 1 : 0);
    await this.device.refreshConfig();
  }

  /** @throws {UsageError} BAD_ARGUMENT for sectors that are not on the disk. */
  async read(sector: number, count: number): Promise<Uint8Array<ArrayBuffer>> {
    this.#checkRange(sector, count);
    const target = new Uint8Array(count * sectorSize);
    await this.#inPieces(sector, count, false, async (at, length) => {
      const offset = (at - sector) * sectorSize;
      target.set(await this.#requests.send(requestType.IN, at, undefined, length), offset);
    });
    return target;
  }

  /**
   * Writes whole sectors. It is stable once a `flush` that was called afterwards is done, or at once when
   * `writeback` is false.
   *
   * @throws {UsageError} BAD_ARGUMENT for sectors that are not on the disk, BAD_STATE for a read-only disk.
   * @spec 5.2.6.1 driver: Device Types / Block Device / Device Operation
   */
  async write(sector: number, data: Uint8Array): Promise<void> {
    if (data.length % sectorSize !== 0) {
      throw new UsageError('BAD_ARGUMENT', `${data.length} bytes are not whole sectors of ${sectorSize}`);
    }
    this.#checkChange(sector, data.length / sectorSize);
    this.zones?.checkWrite(sector, data.length);
    const ordered = this.zones !== undefined;
    await this.#writes(
      this.#inPieces(sector, data.length / sectorSize, ordered, async (at, length) => {
        const offset = (at - sector) * sectorSize;
        await this.#requests.send(requestType.OUT, at, data.subarray(offset, offset + length));
      }),
    );
  }

  /**
   * Makes everything stable that was written before this call: it waits for what is under way first.
   *
   * @spec 5.2.6.1 driver: Device Types / Block Device / Device Operation
   */
  async flush(): Promise<void> {
    // Whoever wrote hears of a failure.
    await Promise.allSettled(this.#writing);
    if (this.device.has('FLUSH')) await this.#requests.send(requestType.FLUSH, 0);
  }

  /**
   * Tells the disk that sectors are not needed; they may read as anything afterwards.
   *
   * @throws {UsageError} NOT_NEGOTIATED when the disk cannot.
   */
  async discard(sector: number, count: number): Promise<void> {
    this.#need('DISCARD');
    const { max_discard_sectors, max_discard_seg, discard_sector_alignment } = this.device.config;
    await this.#onRanges(requestType.DISCARD, sector, count, {
      maxSectors: max_discard_sectors,
      maxSegments: max_discard_seg,
      alignment: discard_sector_alignment,
    });
  }

  /**
   * Makes sectors read as 0; with `unmap` the disk may give their room back.
   *
   * @throws {UsageError} NOT_NEGOTIATED when the disk cannot.
   */
  async writeZeroes(
    sector: number,
    count: number,
    options: { readonly unmap?: boolean } = {},
  ): Promise<void> {
    this.#need('WRITE_ZEROES');
    const { max_write_zeroes_sectors, max_write_zeroes_seg } = this.device.config;
    await this.#onRanges(requestType.WRITE_ZEROES, sector, count, {
      maxSectors: max_write_zeroes_sectors,
      maxSegments: max_write_zeroes_seg,
      unmap: options.unmap ?? false,
    });
  }

  /**
   * Makes what sectors hold irrecoverable. On a zoned disk: whole zones, which are empty afterwards.
   *
   * @throws {UsageError} NOT_NEGOTIATED when the disk cannot.
   */
  async secureErase(sector: number, count: number): Promise<void> {
    this.#need('SECURE_ERASE');
    const { max_secure_erase_sectors, max_secure_erase_seg, secure_erase_sector_alignment } =
      this.device.config;
    await this.#onRanges(requestType.SECURE_ERASE, sector, count, {
      maxSectors: max_secure_erase_sectors,
      maxSegments: max_secure_erase_seg,
      alignment: secure_erase_sector_alignment,
    });
  }

  /** The disk's id: up to 20 characters. */
  async getId(): Promise<string> {
    const bytes = await this.#requests.send(requestType.GET_ID, 0, undefined, idLength);
    const end = bytes.indexOf(0);
    return String.fromCharCode(...bytes.subarray(0, end === -1 ? idLength : end));
  }

  /** @throws {UsageError} NOT_NEGOTIATED when the disk does not tell. */
  async lifetime(): Promise<BlkLifetime> {
    this.#need('LIFETIME');
    const { size } = virtio_blk_lifetime;
    const answer = await this.#requests.send(requestType.GET_LIFETIME, 0, undefined, size);
    const told = virtio_blk_lifetime.read(new DataView(answer.buffer));
    return {
      preEolInfo: told.pre_eol_info,
      estimateA: told.device_lifetime_est_typ_a,
      estimateB: told.device_lifetime_est_typ_b,
    };
  }

  /** Flushes, and lets go of the device. */
  async close(): Promise<void> {
    try {
      if (this.device.failure === undefined) await this.flush();
    } finally {
      await this.device.close();
    }
  }

  /** @internal The configuration may have changed. */
  async refresh(): Promise<boolean> {
    const before = this.#capacity;
    const { capacity } = await this.device.refreshConfig();
    this.#capacity = Number(capacity ?? 0n);
    return this.#capacity !== before;
  }

  #need(feature: OwnFeatureNameOf<typeof blk>): void {
    if (!this.device.has(feature)) {
      throw new UsageError('NOT_NEGOTIATED', `VIRTIO_BLK_F_${feature} was not negotiated with this disk`);
    }
  }

  #checkRange(sector: number, count: number): void {
    const whole = Number.isSafeInteger(sector) && Number.isSafeInteger(count) && sector >= 0 && count >= 0;
    if (!whole || sector + count > this.#capacity) {
      throw new UsageError(
        'BAD_ARGUMENT',
        `${count} sectors at ${sector} are not all on a disk of ${this.#capacity}`,
      );
    }
  }

  #checkChange(sector: number, count: number): void {
    if (this.readOnly) throw new UsageError('BAD_STATE', 'the disk is read-only');
    this.#checkRange(sector, count);
  }

  /** Cuts a range into requests. A piece never crosses the end of a zone. */
  async #inPieces(
    sector: number,
    count: number,
    ordered: boolean,
    step: (sector: number, length: number) => Promise<void>,
  ): Promise<void> {
    const zoneSectors = this.zones?.characteristics.zoneSectors ?? Number.POSITIVE_INFINITY;
    const granule = this.zones === undefined ? 1 : this.zones.characteristics.writeGranularity / sectorSize;
    const most = Math.max(granule, Math.floor(this.#requests.dataMax / sectorSize / granule) * granule);
    let at = sector;
    const end = sector + count;
    const worker = async (): Promise<void> => {
      while (at < end) {
        const from = at;
        const inZone = zoneSectors === Number.POSITIVE_INFINITY ? most : zoneSectors - (from % zoneSectors);
        at += Math.min(most, inZone, end - from);
        await step(from, (at - from) * sectorSize).catch((error: unknown) => {
          at = end;
          throw error;
        });
      }
    };
    // Nothing of it is under way any more when this is done, failed or not.
    const workers = await Promise.allSettled(Array.from({ length: ordered ? 1 : piecesAtOnce }, worker));
    for (const result of workers) if (result.status === 'rejected') throw result.reason;
  }

  async #onRanges(type: number, sector: number, count: number, command: RangeCommand): Promise<void> {
    this.#checkChange(sector, count);
    const send = async (): Promise<void> => {
      for (const data of rangeRequests(sector, count, command, this.#requests.dataMax)) {
        await this.#requests.send(type, 0, data);
      }
    };
    await this.#writes(send());
  }

  /** Remembers a change while it is under way, so that a flush can wait for it. */
  async #writes(change: Promise<void>): Promise<void> {
    this.#writing.add(change);
    try {
      await change;
    } finally {
      this.#writing.delete(change);
    }
  }
}

/**
 * Opens a disk.
 *
 * @example
 * const disk = await openBlk(new Loopback(blkDevice({ storage: memoryStorage(2 ** 20) })));
 * await disk.write(0, new Uint8Array(512).fill(7));
 * await disk.flush();
 *
 * @throws what `open` throws.
 * @spec 5.2.5.1 driver: Device Types / Block Device / Device Initialization
 */
export async function openBlk(transport: Transport, options: OpenBlkOptions = {}): Promise<OpenBlk> {
  const { queues = 1, without = [], onCapacityChange, ...rest } = options;
  let disk: OpenBlk | undefined;
  const device = await open(transport, blk, {
    ...rest,
    features: featureChoice(transport, without),
    queues: (negotiated) =>
      Array.from({ length: queueCount(negotiated, queues) }, (_, number) => ({ name: 'requestq', number })),
    onConfigChange: () => {
      const refreshed = async (): Promise<void> => {
        if (await disk?.refresh()) onCapacityChange?.(disk?.capacity ?? 0);
      };
      refreshed().catch((error: unknown) => device.fail(asError(error)));
    },
  });
  try {
    const opened = Array.from({ length: queueCount(device, queues) }, (_, number) =>
      device.queue('requestq', number),
    );
    disk = new OpenBlk(device, new BlkRequests(device, opened));
    return disk;
  } catch (error) {
    await device.close();
    throw error;
  }
}

/** How many queues to use of those that the disk has. */
function queueCount(device: NegotiatedDevice<typeof blk>, wanted: number): number {
  return device.has('MQ') ? Math.max(1, Math.min(wanted, device.config.num_queues ?? 1)) : 1;
}

/** A driver of a host-managed disk leaves DISCARD alone: it learns which model it is from the configuration. */
function featureChoice(
  transport: Transport,
  without: readonly OwnFeatureNameOf<typeof blk>[],
): FeatureChoice<typeof blk> {
  return async (offers) => {
    const wanted = blk.ownFeatures.filter((name) => !without.includes(name));
    if (!offers('ZONED') || !wanted.includes('ZONED')) return wanted;
    const offset = virtio_blk_config.field.zoned.offset + virtio_blk_zoned_characteristics.field.model.offset;
    const [model] = await inOneGeneration(transport, () => transport.readConfig(offset, 1));
    return model === zoneModel.HM ? wanted.filter((name) => name !== 'DISCARD') : wanted;
  };
}

function zonesOf(
  device: OpenDevice<typeof blk>,
  requests: BlkRequests,
  capacity: () => number,
): BlkZones | undefined {
  const { zoned } = device.config;
  if (!device.has('ZONED') || zoned === undefined || zoned.model === zoneModel.NONE) return undefined;
  const { zone_sectors: zoneSectors, write_granularity: writeGranularity } = zoned;
  if (zoneSectors === 0 || writeGranularity === 0 || writeGranularity % sectorSize !== 0) {
    const what = `zones of ${zoneSectors} sectors, written in multiples of ${writeGranularity} bytes`;
    const clause = 'device: Device Types / Block Device / Device Initialization';
    throw new PeerError('LAYOUT_INVALID', `the blk device says that it has ${what}`, clause);
  }
  return new BlkZones(
    {
      model: zoned.model === zoneModel.HM ? 'host-managed' : 'host-aware',
      zoneSectors,
      maxOpenZones: zoned.max_open_zones,
      maxActiveZones: zoned.max_active_zones,
      maxAppendSectors: zoned.max_append_sectors,
      writeGranularity,
    },
    requests,
    capacity,
  );
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));
