import type { HostFile } from './host-file.ts';
import { Table } from './table.ts';

/** Tables of one cluster each that are in memory; those that nobody asked for longest give way. */
export class TableCache {
  /** Those whose changes are not in the file. */
  readonly changed: Set<Table> = new Set<Table>();
  readonly #host: HostFile;
  readonly #clusterSize: number;
  readonly #most: number;
  readonly #tables = new Map<number, Table>();

  /** Keeps about as many bytes. */
  constructor(host: HostFile, clusterSize: number, bytes: number) {
    this.#host = host;
    this.#clusterSize = clusterSize;
    this.#most = Math.max(8, Math.floor(bytes / clusterSize));
  }

  /** Bytes of the tables that have changed. */
  get changedBytes(): number {
    return this.changed.size * this.#clusterSize;
  }

  get(offset: number): Table {
    const known = this.#tables.get(offset);
    if (known !== undefined) {
      this.#tables.delete(offset);
      this.#tables.set(offset, known);
      return known;
    }
    const bytes = new Uint8Array(this.#clusterSize);
    this.#host.read(offset, bytes);
    return this.#keep(new Table(offset, bytes, this.changed));
  }

  /** A table that is not in the file yet. */
  add(offset: number, bytes: Uint8Array): Table {
    return this.#keep(new Table(offset, bytes, this.changed, true));
  }

  /** Its cluster is free. */
  drop(offset: number): void {
    const table = this.#tables.get(offset);
    if (table === undefined) return;
    this.#tables.delete(offset);
    table.abandon();
  }

  #keep(table: Table): Table {
    if (this.#tables.size >= this.#most) {
      for (const [offset, other] of this.#tables) {
        if (this.#tables.size < this.#most) break;
        if (!other.isChanged && other.pinned === 0) this.#tables.delete(offset);
      }
    }
    this.#tables.set(table.offset, table);
    return table;
  }
}
