import { HostError } from 'virtio/errors';
import { type CountWidth, countWidth } from './count-width.ts';
import type { Header } from './header.ts';
import { most } from './header-fields.ts';
import type { HostFile } from './host-file.ts';
import type { Occupied } from './occupied.ts';
import { highOf, lowOf, offsetOf, Table } from './table.ts';
import { TableCache } from './table-cache.ts';

/** Bytes of reference counts that are kept in memory. */
const cacheSize = 4 * 2 ** 20;

/** How often each cluster of an image is referred to, and so which are free. */
export class Refcounts {
  readonly blocks: TableCache;
  /** The refcount table itself, when it has changed: it goes to the file behind the blocks that it refers to. */
  readonly changedTables: Set<Table> = new Set<Table>();
  /** Where the header has to say that the table is now; `undefined` while it says so. */
  moved: { readonly offset: number; readonly clusters: number } | undefined;
  readonly #host: HostFile;
  readonly #occupied: Occupied;
  readonly #clusterSize: number;
  readonly #width: CountWidth;
  /** Counts in a block. */
  readonly #perBlock: number;
  #table: Table;
  /** No cluster below it is free. */
  #hint = 0;
  /** References that are gone once the present metadata is stable. */
  #released: number[] = [];

  /** @throws {HostError} BAD_IMAGE when the table refers to what is no cluster, or is another's. */
  constructor(host: HostFile, header: Header, occupied: Occupied) {
    this.#host = host;
    this.#occupied = occupied;
    this.#clusterSize = header.clusterSize;
    this.#width = countWidth(header.refcountOrder);
    this.#perBlock = (this.#clusterSize * 8) / this.#width.bits;
    this.blocks = new TableCache(host, this.#clusterSize, cacheSize);
    const bytes = new Uint8Array(header.refcountTableClusters * this.#clusterSize);
    host.read(header.refcountTableOffset, bytes);
    this.#table = new Table(header.refcountTableOffset, bytes, this.changedTables);
    for (let index = 0; index < this.#entries; index++) {
      const offset = this.#blockOffset(index);
      if (offset !== 0) occupied.claim(offset, this.#clusterSize, 'refcount block');
    }
  }

  /** References whose end was noted and not applied. */
  get releasedCount(): number {
    return this.#released.length;
  }

  get(cluster: number): number {
    const block = this.#blockOf(cluster);
    return block === undefined ? 0 : this.#width.get(block.bytes, cluster % this.#perBlock);
  }

  /** Says how often a cluster is referred to; makes room for its count where there is none. */
  set(cluster: number, count: number): void {
    if (count > this.#width.most) {
      throw this.#host.corrupt(`the cluster at ${cluster * this.#clusterSize} is referred to ${count} times`);
    }
    this.#put(this.#blockOf(cluster) ?? this.#coverWithin(cluster), cluster, count);
  }

  /** A cluster that was free, and is not any more: `what` it holds, unless it is the disk's. Its content is whatever it was. */
  allocate(what?: string): number {
    for (let cluster = this.#hint; ; ) {
      const index = Math.floor(cluster / this.#perBlock);
      if (index >= this.#entries) this.#grow(cluster);
      const block = this.#blockOf(cluster);
      if (block === undefined) {
        this.#takeRoom(cluster, 1);
        this.#cover(index, cluster);
        this.set(cluster, 1);
        cluster++;
        continue;
      }
      const end = (index + 1) * this.#perBlock;
      while (cluster < end && this.#width.get(block.bytes, cluster % this.#perBlock) !== 0) cluster++;
      if (cluster === end) continue;
      if (what === undefined) this.#occupied.check(cluster, 'free cluster');
      else {
        this.#takeRoom(cluster, 1);
        this.#occupied.take(cluster, what);
      }
      this.#put(block, cluster, 1);
      this.#hint = cluster + 1;
      return cluster;
    }
  }

  /** A cluster that was allocated and is not referred to after all. */
  giveBack(cluster: number): void {
    this.set(cluster, 0);
    this.#hint = Math.min(this.#hint, cluster);
  }

  /** One reference fewer, from when the metadata that has no more of it is stable. */
  release(cluster: number): void {
    this.#released.push(cluster);
  }

  takeReleased(): number[] {
    const released = this.#released;
    this.#released = [];
    return released;
  }

  putBackReleased(released: readonly number[]): void {
    this.#released.unshift(...released);
  }

  /**
   * Counts references down, and takes each out of `released` as it does, so that what fails in between is not done twice.
   * Clusters that are free now go to `free`.
   */
  applyReleased(released: number[], free: number[]): void {
    for (let cluster = released.at(-1); cluster !== undefined; cluster = released.at(-1)) {
      const count = this.get(cluster);
      if (count === 0) {
        throw this.#host.corrupt(
          `the cluster at ${cluster * this.#clusterSize} is in use and counted as free`,
        );
      }
      this.set(cluster, count - 1);
      released.pop();
      if (count > 1) continue;
      this.#occupied.release(cluster);
      this.#hint = Math.min(this.#hint, cluster);
      free.push(cluster);
    }
  }

  /** Sets every count to what it should be: the image was left with wrong ones. */
  rebuild(counts: ReadonlyMap<number, number>): void {
    for (let index = 0; index < this.#entries; index++) {
      const first = index * this.#perBlock;
      const block = this.#blockOf(first);
      if (block === undefined) continue;
      for (let cluster = first; cluster < first + this.#perBlock; cluster++) {
        const right = counts.get(cluster) ?? 0;
        if (this.get(cluster) !== right) this.set(cluster, right);
      }
    }
    for (const [cluster, right] of counts) if (this.get(cluster) !== right) this.set(cluster, right);
  }

  /** Where the blocks of counts are. */
  *blockOffsets(): Iterable<number> {
    for (let index = 0; index < this.#entries; index++) {
      const offset = this.#blockOffset(index);
      if (offset !== 0) yield offset;
    }
  }

  get #entries(): number {
    return this.#table.bytes.length / 8;
  }

  #blockOffset(index: number): number {
    const offset = offsetOf(this.#table.high(index), this.#table.low(index));
    // Bits 56 to 63 belong to a place here, and no file reaches so far.
    return this.#table.high(index) >= 2 ** 24 ? Number.MAX_SAFE_INTEGER : offset;
  }

  #blockOf(cluster: number): Table | undefined {
    const index = Math.floor(cluster / this.#perBlock);
    if (index >= this.#entries) return undefined;
    const offset = this.#blockOffset(index);
    return offset === 0 ? undefined : this.blocks.get(offset);
  }

  #put(block: Table, cluster: number, count: number): void {
    const within = cluster % this.#perBlock;
    this.#width.set(block.bytes, within, count);
    const at = Math.floor((within * this.#width.bits) / 8);
    block.touch(at, at + Math.ceil(this.#width.bits / 8));
  }

  /** A block of counts for a cluster that has none, itself elsewhere. */
  #coverWithin(cluster: number): Table {
    const index = Math.floor(cluster / this.#perBlock);
    if (index >= this.#entries) this.#grow(cluster);
    if (this.#blockOf(cluster) === undefined) {
      // In the block's own range, behind all that the file has, where nothing is referred to.
      const first = Math.max(Math.ceil(this.#host.end / this.#clusterSize), index * this.#perBlock);
      if (first >= (index + 1) * this.#perBlock) {
        throw this.#host.corrupt(`clusters from ${index * this.#perBlock} on are in use and not counted`);
      }
      this.#takeRoom(first, 1);
      this.#cover(index, first);
      this.set(first, 1);
    }
    return this.#blockOf(cluster)!;
  }

  /**
   * Fills clusters that metadata will be in, before anything refers to them: where the file system is full that request
   * fails, and not the flush of all that was written before it.
   */
  #takeRoom(first: number, count: number): void {
    for (let at = first; at < first + count; at++) this.#occupied.check(at, 'free cluster');
    this.#host.write(first * this.#clusterSize, new Uint8Array(count * this.#clusterSize));
  }

  /** Makes a block of counts at a free cluster, whose room was taken. */
  #cover(index: number, cluster: number): void {
    const offset = cluster * this.#clusterSize;
    this.blocks.add(offset, new Uint8Array(this.#clusterSize));
    this.#occupied.take(cluster, 'refcount block');
    this.#table.setEntry(index, highOf(offset), lowOf(offset));
  }

  /**
   * Makes a longer table, behind all that is there, that has an entry for `cluster`. The blocks that count its own
   * clusters come right behind it.
   */
  #grow(cluster: number): void {
    const size = this.#clusterSize;
    const perBlock = this.#perBlock;
    const least = Math.ceil((Math.floor(cluster / perBlock) + 1) * 1.5);
    const first = Math.max(this.#entries * perBlock, Math.ceil(this.#host.end / size));
    const firstBlock = Math.floor(first / perBlock);
    let [clusters, blocks, settled] = [1, 1, false];
    while (!settled) {
      const entries = Math.max(least, firstBlock + blocks);
      const [c, b] = [
        Math.ceil((entries * 8) / size),
        Math.floor((first + clusters + blocks - 1) / perBlock) - firstBlock + 1,
      ];
      settled = c === clusters && b === blocks;
      [clusters, blocks] = [c, b];
    }
    if (clusters * size > most.refcountTable) {
      throw new HostError(
        'NO_SPACE',
        `${this.#host.path} cannot grow: its clusters of ${size} bytes are too small`,
      );
    }
    this.#takeRoom(first, clusters + blocks);
    const old = this.#table;
    const bytes = new Uint8Array(clusters * size);
    bytes.set(old.bytes);
    old.abandon();
    this.#table = new Table(first * size, bytes, this.changedTables, true);
    this.moved = { offset: first * size, clusters };
    for (let at = first; at < first + clusters; at++) this.#occupied.take(at, 'refcount table');
    for (let block = 0; block < blocks; block++) this.#cover(firstBlock + block, first + clusters + block);
    for (let at = first; at < first + clusters + blocks; at++) this.set(at, 1);
    for (let at = 0; at < old.bytes.length; at += size) this.release((old.offset + at) / size);
  }
}
