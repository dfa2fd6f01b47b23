import { after, type Eventually, eachInTurn } from '../../device/eventually.ts';
import type { Chain } from '../../virtqueue/chain.ts';
import type { SectorRange } from './ranges.ts';
import { sectorSize } from './spec.ts';
import { requestStatus, requestType } from './spec-requests.ts';
import { virtio_blk_zone_descriptor, virtio_blk_zone_report } from './spec-zones.ts';
import type { Storage } from './storage.ts';
import { readToChain, writeFromChain, writeZeroes } from './transfer.ts';
import { Turns } from './turns.ts';
import type { Run, Zones } from './zones.ts';

const { OK, IOERR, UNSUPP, ZONE_INVALID_CMD } = requestStatus;

/** Bytes of append_sector and status at the end of a ZONE_APPEND request. */
const appendTrailer = 9;

/**
 * Requests to a disk with zones. Those that change a zone run one after the other: a write pointer has moved
 * once its data are there, and a snapshot never sees it between.
 *
 * @spec 5.2.6.2 device: Device Types / Block Device / Device Operation
 */
export class ZoneRequests {
  readonly #zones: Zones;
  readonly #storage: Storage;
  readonly #maxAppend: number;
  readonly #commit: () => void | Promise<void>;
  readonly #turns: Turns = new Turns(1);

  /** `maxAppend` in sectors; `commit` makes what was written stable, if it must be before it completes. */
  constructor(zones: Zones, storage: Storage, maxAppend: number, commit: () => void | Promise<void>) {
    this.#zones = zones;
    this.#storage = storage;
    this.#maxAppend = maxAppend;
    this.#commit = commit;
  }

  /** The requests that only a zoned disk knows. */
  handle(
    request: { readonly chain: Chain; readonly type: number; readonly sector: number },
    readOnly: boolean,
  ): Eventually<number> {
    const { chain, type, sector } = request;
    const zones = this.#zones;
    const managing = (work: () => Eventually<number>): Eventually<number> =>
      readOnly ? IOERR : this.#inTurn(chain, work);
    switch (type) {
      case requestType.ZONE_REPORT:
        return this.#report(chain, sector);
      case requestType.ZONE_APPEND:
        return managing(() => this.#append(chain, sector));
      case requestType.ZONE_OPEN:
        return managing(() => zones.open(sector));
      case requestType.ZONE_CLOSE:
        return managing(() => zones.close(sector));
      case requestType.ZONE_FINISH:
        return managing(() => zones.finish(sector));
      case requestType.ZONE_RESET:
        return managing(() => this.#resetOne(sector));
      case requestType.ZONE_RESET_ALL:
        return managing(() => after(this.#resetZones(zones.resettable()), () => OK));
      default:
        return UNSUPP;
    }
  }

  /** A range that is within the disk; sectors that nobody wrote read as 0. */
  read(chain: Chain, sector: number, count: number): Eventually<number> {
    const refusal = this.#zones.checkRead(sector, count);
    if (refusal !== OK) return refusal;
    const all = eachInTurn(this.#zones.runs(sector, count), (run) => {
      const [offset, length] = bytesOf(run);
      if (run.written) return readToChain(this.#storage, offset, chain, length);
      chain.writable.fill(0, length);
    });
    return after(all, () => OK);
  }

  /** A range that is within the disk; the chain's cursor stands before its bytes. */
  write(chain: Chain, sector: number, count: number): Eventually<number> {
    if (count === 0) return OK;
    return this.#inTurn(chain, () => {
      const refusal = this.#zones.beginWrite(sector, count);
      return refusal === OK ? this.#store(chain, sector, count) : refusal;
    });
  }

  /** Zeroes are a write like any other; only host-aware disks offer the command. */
  writeZeroes(range: SectorRange): Eventually<number> {
    return this.#turns.run(() => {
      const refusal = this.#zones.beginWrite(range.sector, range.count);
      if (refusal !== OK) return refusal;
      return after(writeZeroes(this.#storage, ...bytesOf(range), range.unmap), () => {
        this.#zones.wrote(range.sector, range.count);
        return OK;
      });
    });
  }

  /** Erases whole zones, which are empty then. */
  erase({ sector, count }: SectorRange): Eventually<number> {
    const zones = this.#zones;
    return this.#turns.run(() => {
      const erased: number[] = [];
      for (let at = sector; at < sector + count; at = zones.end(zones.zoneOf(at))) {
        const refusal = zones.checkReset(at);
        if (refusal !== OK) return refusal;
        erased.push(zones.zoneOf(at));
      }
      const last = erased.at(-1);
      if (last !== undefined && zones.end(last) !== sector + count) return ZONE_INVALID_CMD;
      return after(this.#storage.secureErase?.(sector * sectorSize, count * sectorSize), () => {
        for (const zone of erased) zones.reset(zone);
        return OK;
      });
    });
  }

  #inTurn(chain: Chain, work: () => Eventually<number>): Eventually<number> {
    // The queue was reset while the request waited for its turn.
    return this.#turns.run(() => (chain.live ? work() : IOERR));
  }

  /** Writes what the chain holds to a range that `beginWrite` has allowed. */
  #store(chain: Chain, sector: number, count: number): Eventually<number> {
    const storage = this.#storage;
    const filled = eachInTurn(this.#zones.gaps(sector, count), (gap) =>
      writeZeroes(storage, ...bytesOf(gap), true),
    );
    return after(filled, () =>
      after(writeFromChain(storage, sector * sectorSize, chain, count * sectorSize), () =>
        after(this.#commit(), () => {
          this.#zones.wrote(sector, count);
          return OK;
        }),
      ),
    );
  }

  #append(chain: Chain, sector: number): Eventually<number> {
    const { readable, writable } = chain;
    const count = readable.remaining / sectorSize;
    if (writable.length < appendTrailer || !Number.isInteger(count)) return IOERR;
    if (count > this.#maxAppend) return this.#maxAppend === 0 ? UNSUPP : ZONE_INVALID_CMD;
    const begun = this.#zones.beginAppend(sector, count);
    if (begun.status !== OK) return begun.status;
    const stored = count === 0 ? OK : this.#store(chain, begun.sector, count);
    return after(stored, () => {
      writable.fill(0, writable.length - appendTrailer);
      writable.u64(begun.sector);
      return OK;
    });
  }

  #report({ writable }: Chain, sector: number): number {
    const zones = this.#zones;
    const header = virtio_blk_zone_report.size;
    const room = Math.floor((writable.length - 1 - header) / virtio_blk_zone_descriptor.size);
    if (room < 0 || sector >= zones.layout.capacity) return ZONE_INVALID_CMD;
    const first = zones.zoneOf(sector);
    const count = Math.min(room, zones.count - first);
    writable.write(virtio_blk_zone_report.encode({ nr_zones: BigInt(count) }));
    for (let zone = first; zone < first + count; zone++) {
      writable.write(virtio_blk_zone_descriptor.encode(zones.descriptor(zone)));
    }
    return OK;
  }

  #resetOne(sector: number): Eventually<number> {
    const refusal = this.#zones.checkReset(sector);
    if (refusal !== OK) return refusal;
    return after(this.#resetZones([this.#zones.zoneOf(sector)]), () => OK);
  }

  /** Empties zones, and gives their room back where the storage can. */
  #resetZones(emptied: readonly number[]): Eventually<void> {
    const zones = this.#zones;
    return eachInTurn(emptied, (zone) => {
      const range = { sector: zones.start(zone), count: zones.end(zone) - zones.start(zone) };
      return after(this.#storage.discard?.(...bytesOf(range)), () => zones.reset(zone));
    });
  }
}

const bytesOf = ({ sector, count }: Omit<Run, 'written'>): [offset: number, length: number] => [
  sector * sectorSize,
  count * sectorSize,
];
