import type { Header } from './header.ts';
import type { HostFile } from './host-file.ts';
import type { Occupied } from './occupied.ts';
import type { Refcounts } from './refcounts.ts';
import { copied, highOf, lowOf, offsetOf, Table } from './table.ts';
import { TableCache } from './table-cache.ts';

/** Bytes of L2 tables that are kept in memory. */
const cacheSize = 16 * 2 ** 20;

/** Where the clusters of a disk are: the active L1 table, and the L2 tables that it refers to. */
export class Mapping {
  readonly tables: TableCache;
  readonly changedTables: Set<Table> = new Set<Table>();
  /** The halves of the entry that was last looked for. */
  high = 0;
  low = 0;
  /** Entries of an L2 table. */
  readonly perTable: number;
  readonly #l1: Table;
  readonly #clusterSize: number;

  /** @throws {HostError} BAD_IMAGE when L1 refers to what is no cluster, or is another's. */
  constructor(host: HostFile, header: Header, occupied: Occupied) {
    this.#clusterSize = header.clusterSize;
    this.perTable = header.clusterSize / 8;
    this.tables = new TableCache(host, header.clusterSize, cacheSize);
    const bytes = new Uint8Array(header.l1Size * 8);
    host.read(header.l1Offset, bytes);
    this.#l1 = new Table(header.l1Offset, bytes, this.changedTables);
    for (let index = 0; index < header.l1Size; index++) {
      const offset = offsetOf(this.#l1.high(index), this.#l1.low(index));
      if (offset !== 0) occupied.claim(offset, header.clusterSize, 'L2 table');
    }
  }

  /** Looks an entry up: `high` and `low` are it. */
  find(cluster: number): void {
    const index = Math.floor(cluster / this.perTable);
    const offset = this.#tableOffset(index);
    if (offset === 0) {
      this.high = 0;
      this.low = 0;
      return;
    }
    const table = this.tables.get(offset);
    const within = cluster % this.perTable;
    this.high = table.high(within);
    this.low = table.low(within);
  }

  /** False when no cluster of this one's L2 table was ever written. */
  hasTable(cluster: number): boolean {
    return this.#tableOffset(Math.floor(cluster / this.perTable)) !== 0;
  }

  set(cluster: number, high: number, low: number, refcounts: Refcounts): void {
    this.#writable(Math.floor(cluster / this.perTable), refcounts).setEntry(
      cluster % this.perTable,
      high,
      low,
    );
  }

  /** The offsets of all L2 tables. */
  *offsets(): Iterable<number> {
    for (let index = 0; index < this.#l1.bytes.length / 8; index++) {
      const offset = this.#tableOffset(index);
      if (offset !== 0) yield offset;
    }
  }

  #tableOffset(index: number): number {
    return offsetOf(this.#l1.high(index), this.#l1.low(index));
  }

  /** An L2 table that no snapshot shares. */
  #writable(index: number, refcounts: Refcounts): Table {
    const size = this.#clusterSize;
    const offset = this.#tableOffset(index);
    if (offset !== 0 && (this.#l1.high(index) & copied) !== 0 && refcounts.get(offset / size) === 1) {
      return this.tables.get(offset);
    }
    const bytes = offset === 0 ? new Uint8Array(size) : this.tables.get(offset).bytes.slice();
    const place = refcounts.allocate('L2 table') * size;
    const table = this.tables.add(place, bytes);
    this.#l1.setEntry(index, (highOf(place) | copied) >>> 0, lowOf(place));
    if (offset !== 0) refcounts.release(offset / size);
    return table;
  }
}
