import type { ActiveDevice } from '../../device/device.ts';
import { after, type Eventually, eachInTurn } from '../../device/eventually.ts';
import { HostError, PeerError, UsageError } from '../../errors.ts';
import type { OwnFeatureNameOf } from '../../spec/device-type.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import { Flusher } from './flusher.ts';
import { readLegacyType } from './legacy.ts';
import { type BlkOffer, noZones, type RangeRules } from './offer.ts';
import type { BlkOptions } from './options.ts';
import { isWithin, readRanges, type SectorRange } from './ranges.ts';
import { type blk, sectorSize } from './spec.ts';
import {
  idLength,
  lifetimeEstimateMax,
  preEolInfo,
  requestStatus,
  requestType,
  requestTypeName,
  virtio_blk_lifetime,
  virtio_blk_req,
} from './spec-requests.ts';
import type { Storage } from './storage.ts';
import { readToChain, writeFromChain, writeZeroes } from './transfer.ts';
import { Turns } from './turns.ts';
import { ZoneRequests } from './zone-requests.ts';
import { Zones } from './zones.ts';

/** A request as its header says. */
export interface Request {
  readonly chain: Chain;
  readonly type: number;
  readonly sector: number;
}

type Has = (feature: OwnFeatureNameOf<typeof blk>) => boolean;

const { OK, IOERR, UNSUPP } = requestStatus;

/** Requests that wait for the storage at a time: with 256 KiB each, they hold 16 MiB of our memory. */
const concurrency = 64;

/** Serves the requests of a disk: whatever the driver asks for ends with a status, or breaks its queue. */
export class RequestServer {
  readonly zones: Zones | undefined;
  /** Sectors. */
  capacity: number;
  readonly #options: BlkOptions;
  readonly #offer: BlkOffer;
  readonly #storage: Storage;
  readonly #flusher: Flusher;
  readonly #turns: Turns = new Turns(concurrency);
  readonly #zoneRequests: ZoneRequests | undefined;
  readonly #id: Uint8Array;
  #has: Has = () => false;
  #legacy: ActiveDevice['legacy'];
  #writeback = false;

  constructor(options: BlkOptions, offer: BlkOffer) {
    this.#options = options;
    this.#offer = offer;
    this.#storage = options.storage;
    this.#flusher = new Flusher(options.storage);
    this.#id = idBytes(options.id ?? '');
    this.capacity = Number(offer.config.capacity);
    if (offer.zones === undefined) return;
    this.zones = new Zones(offer.zones);
    if (options.zoned?.state !== undefined) this.zones.restore(options.zoned.state);
    this.#zoneRequests = new ZoneRequests(
      this.zones,
      options.storage,
      offer.config.zoned.max_append_sectors,
      () => this.#commit(),
    );
  }

  /**
   * What the configuration must say once the driver has made its choice.
   *
   * @spec 5.2.5.2 device: Device Types / Block Device / Device Initialization
   */
  negotiated(has: Has): { writeback?: number; zoned?: typeof noZones } {
    return {
      ...(has('CONFIG_WCE') && !has('FLUSH') ? { writeback: 0 } : {}),
      ...(has('ZONED') ? {} : { zoned: noZones }),
    };
  }

  /** A driver is there; `writeback` as the configuration has it now. */
  activate({ has, legacy }: ActiveDevice<typeof blk>, writeback: boolean): void {
    this.#has = has;
    this.#legacy = legacy;
    this.#writeback = writeback;
  }

  setWriteback(writeback: boolean): void {
    this.#writeback = writeback;
  }

  /** The driver is gone. */
  reset(): void {
    this.#has = () => false;
    this.#legacy = undefined;
    this.drain();
  }

  /** What was begun runs out before anything that is asked for from now on. */
  drain(): void {
    this.#turns.drain();
  }

  /**
   * The status of one request that the zones refused means nothing to a driver without VIRTIO_BLK_F_ZONED.
   */
  #known(status: number): number {
    return status > UNSUPP && !this.#has('ZONED') ? IOERR : status;
  }

  /**
   * Serves one request. The status byte is the last that is written, and whatever stands before it is
   * written too.
   *
   * @spec 5.2.6.2 device: Device Types / Block Device / Device Operation
   */
  serve(chain: Chain): void | Promise<void> {
    const { readable, writable } = chain;
    if (readable.length < virtio_blk_req.size || writable.length === 0) {
      const lengths = `${readable.length} bytes to read and ${writable.length} to write`;
      const clause = 'driver: Device Types / Block Device / Device Operation';
      throw new PeerError('BAD_REQUEST', `blk: no room for header and status in ${lengths}`, clause);
    }
    const type = readable.u32();
    readable.seek(virtio_blk_req.field.sector.offset);
    const request: Request = { chain, type, sector: readable.u64() };
    const served =
      this.#legacy === undefined
        ? this.#turns.run(() => this.#attempt(request))
        : this.#serveLegacy(request, this.#legacy.has('BARRIER'));
    return after(served, (status) => finish(chain, this.#known(status)));
  }

  #serveLegacy(request: Request, barriers: boolean): Eventually<number> {
    const { type, isBarrier } = readLegacyType(request.type, barriers);
    const attempt = (): Eventually<number> => this.#attempt({ ...request, type });
    return isBarrier ? this.#turns.runAlone(attempt) : this.#turns.run(attempt);
  }

  /** A request that fails beneath us ends with IOERR, and its cause is reported. */
  #attempt(request: Request): Eventually<number> {
    const failed = (error: unknown): number => {
      if (error instanceof PeerError || error instanceof UsageError) throw error;
      this.#options.onError?.(asHostError(error, request));
      return IOERR;
    };
    // The queue was reset while the request waited for its turn.
    if (!request.chain.live) return IOERR;
    try {
      const status = this.#handle(request);
      return status instanceof Promise ? status.catch(failed) : status;
    } catch (error) {
      return failed(error);
    }
  }

  #handle(request: Request): Eventually<number> {
    const { chain, type } = request;
    const { discard, writeZeroes: zeroing, secureErase } = this.#offer;
    switch (type) {
      case requestType.IN:
        return this.#read(request);
      case requestType.OUT:
        return this.#write(request);
      case requestType.FLUSH:
        return this.#has('FLUSH') ? after(this.#flusher.flush(), () => OK) : UNSUPP;
      case requestType.GET_ID:
        return this.#getId(chain);
      case requestType.GET_LIFETIME:
        return this.#has('LIFETIME') ? this.#getLifetime(chain) : UNSUPP;
      case requestType.DISCARD:
        if (discard === undefined || !this.#has('DISCARD')) return UNSUPP;
        return this.#onRanges(chain, discard, false, (range) => this.#discard(range));
      case requestType.WRITE_ZEROES:
        if (zeroing === undefined || !this.#has('WRITE_ZEROES')) return UNSUPP;
        return this.#onRanges(chain, zeroing, true, (range) => this.#zero(range));
      case requestType.SECURE_ERASE:
        if (secureErase === undefined || !this.#has('SECURE_ERASE')) return UNSUPP;
        return this.#onRanges(chain, secureErase, false, (range) => this.#erase(range));
      default:
        if (this.#zoneRequests === undefined || !this.#has('ZONED')) return UNSUPP;
        return this.#zoneRequests.handle(request, this.#offer.readOnly);
    }
  }

  #read({ chain, sector }: Request): Eventually<number> {
    const length = chain.writable.length - 1;
    const count = length / sectorSize;
    if (!Number.isInteger(count) || !isWithin(sector, count, this.capacity)) return IOERR;
    if (this.#zoneRequests !== undefined) return this.#zoneRequests.read(chain, sector, count);
    return after(readToChain(this.#storage, sector * sectorSize, chain, length), () => OK);
  }

  #write({ chain, sector }: Request): Eventually<number> {
    const length = chain.readable.remaining;
    const count = length / sectorSize;
    if (this.#offer.readOnly || !Number.isInteger(count)) return IOERR;
    if (!isWithin(sector, count, this.capacity)) return IOERR;
    if (this.#zoneRequests !== undefined) return this.#zoneRequests.write(chain, sector, count);
    const written = writeFromChain(this.#storage, sector * sectorSize, chain, length);
    return after(written, () => after(this.#commit(), () => OK));
  }

  #getId(chain: Chain): number {
    if (chain.writable.length !== idLength + 1) return IOERR;
    chain.writable.write(this.#id);
    return OK;
  }

  #getLifetime(chain: Chain): number {
    if (chain.writable.length < virtio_blk_lifetime.size + 1) return IOERR;
    const known = this.#options.lifetime?.();
    const unreserved = (value: number | undefined, most: number): number =>
      value !== undefined && Number.isInteger(value) && value >= 0 && value <= most ? value : 0;
    const answer = virtio_blk_lifetime.encode({
      pre_eol_info: unreserved(known?.preEolInfo, preEolInfo.URGENT),
      device_lifetime_est_typ_a: unreserved(known?.estimateA, lifetimeEstimateMax),
      device_lifetime_est_typ_b: unreserved(known?.estimateB, lifetimeEstimateMax),
    });
    // Little-endian for legacy drivers too, like ranges and zones: their byte order ends with the header.
    chain.writable.write(answer);
    return OK;
  }

  #onRanges(
    chain: Chain,
    rules: RangeRules,
    unmapAllowed: boolean,
    step: (range: SectorRange) => Eventually<number>,
  ): Eventually<number> {
    const ranges = readRanges(chain, rules, this.capacity, unmapAllowed);
    if (typeof ranges === 'number') return ranges;
    let status: number = OK;
    const all = eachInTurn(ranges, (range) => {
      if (status !== OK || range.count === 0) return;
      return after(step(range), (result) => {
        status = result;
      });
    });
    return after(all, () => after(this.#commit(), () => status));
  }

  #discard(range: SectorRange): Eventually<number> {
    const refusal = this.zones?.checkWrite(range.sector, range.count) ?? OK;
    if (refusal !== OK) return refusal;
    return after(this.#storage.discard?.(...bytesOf(range)), () => OK);
  }

  #zero(range: SectorRange): Eventually<number> {
    if (this.#zoneRequests !== undefined) return this.#zoneRequests.writeZeroes(range);
    return after(writeZeroes(this.#storage, ...bytesOf(range), range.unmap), () => OK);
  }

  #erase(range: SectorRange): Eventually<number> {
    if (this.#zoneRequests !== undefined && this.#has('ZONED')) return this.#zoneRequests.erase(range);
    return after(this.#storage.secureErase?.(...bytesOf(range)), () => OK);
  }

  /**
   * Makes a write stable before it completes, where the driver was not told to flush.
   *
   * @spec 5.2.6.2 device: Device Types / Block Device / Device Operation
   */
  #commit(): void | Promise<void> {
    const has = this.#has;
    const offersFlush = this.#offer.features.includes('FLUSH');
    const cached = has('CONFIG_WCE') ? this.#writeback : has('FLUSH') || !offersFlush;
    return cached ? undefined : this.#flusher.flush();
  }
}

/** The status byte goes last, and nothing before it is left as the driver had it. */
function finish(chain: Chain, status: number): void {
  if (!chain.live) return;
  const { writable } = chain;
  // What a failed request may have got of the data is not shown.
  if (status !== OK) writable.seek(0);
  writable.fill(0, writable.remaining - 1);
  writable.u8(status);
}

const bytesOf = ({ sector, count }: SectorRange): [offset: number, length: number] => [
  sector * sectorSize,
  count * sectorSize,
];

function asHostError(error: unknown, { type, sector }: Request): HostError {
  if (error instanceof HostError) return error;
  const what = `${requestTypeName(type)} at sector ${sector}`;
  return new HostError('IO_ERROR', `blk: ${what} failed: ${String(error)}`, { cause: error });
}

function idBytes(id: string): Uint8Array {
  if (!/^[\x20-\x7e]*$/.test(id) || id.length > idLength) {
    throw new UsageError('BAD_ARGUMENT', `blk: the id "${id}" is not up to ${idLength} ASCII characters`);
  }
  const bytes = new Uint8Array(idLength);
  for (let i = 0; i < id.length; i++) bytes[i] = id.charCodeAt(i);
  return bytes;
}
