import type { Storage } from 'virtio/devices/blk';
import { HostError, UsageError } from 'virtio/errors';
import type { Backing } from './backing.ts';
import { Committer } from './committer.ts';
import { decompressCluster } from './compressed.ts';
import { incompatible } from './features.ts';
import type { Header } from './header.ts';
import { headerField } from './header-fields.ts';
import type { HostFile } from './host-file.ts';
import { type ClusterKind, compressedRange, isCopied, kindOf, zeroFlag } from './l2-entry.ts';
import type { Mapping } from './mapping.ts';
import type { Occupied } from './occupied.ts';
import type { Refcounts } from './refcounts.ts';
import { copied, highOf, lowOf, offsetOf } from './table.ts';

/** What an image that may be written has besides. */
export interface Writing {
  readonly occupied: Occupied;
  readonly refcounts: Refcounts;
}

/** Decompressed clusters that are kept: a guest reads on where it stopped. */
const mostDecompressed = 8;

const noPlace = -1;

/**
 * A disk in a qcow2 image. All is done at once, from the page cache; what a flush does takes its time. Until then
 * new metadata is in memory alone, so a process that dies leaves the image as it was at the last flush.
 */
export class Qcow2Image implements Storage {
  readonly path: string;
  readonly size: number;
  readonly readOnly: boolean;
  readonly immediate: boolean = true;
  readonly sparse: boolean = true;
  readonly #host: HostFile;
  readonly #header: Header;
  readonly #mapping: Mapping;
  readonly #writing: Writing | undefined;
  readonly #committer: Committer | undefined;
  readonly #backing: Backing | undefined;
  readonly #clusterSize: number;
  readonly #decompressed = new Map<number, Uint8Array>();
  #incompatible: number;
  #begun = false;
  #closing: Promise<void> | undefined;

  /** Read-only without `writing`. */
  constructor(
    host: HostFile,
    header: Header,
    mapping: Mapping,
    writing: Writing | undefined,
    backing: Backing | undefined,
  ) {
    this.path = host.path;
    this.size = header.size;
    this.readOnly = writing === undefined;
    this.#host = host;
    this.#header = header;
    this.#mapping = mapping;
    this.#writing = writing;
    this.#backing = backing;
    this.#clusterSize = header.clusterSize;
    this.#incompatible =
      (header.dirty ? 1 << incompatible.dirty : 0) |
      (header.hasCompressionType ? 1 << incompatible.compressionType : 0);
    if (writing === undefined) return;
    this.#committer = new Committer(host, mapping, writing.refcounts, header.clusterSize, (moved) =>
      this.#writeMoved(moved),
    );
  }

  read(offset: number, target: Uint8Array): void {
    this.#host.raw.checkOpen();
    for (let done = 0; done < target.length; ) {
      done += this.#readSome(offset + done, done === 0 ? target : target.subarray(done));
    }
  }

  write(offset: number, source: Uint8Array): void {
    this.#change((writing) => this.#write(offset, source, writing));
  }

  async flush(): Promise<void> {
    if (this.#committer === undefined) return;
    if (this.#host.damage !== undefined) throw this.#host.damage;
    try {
      await this.#committer.flush();
    } catch (error) {
      this.#markDamage();
      throw error;
    }
  }

  discard(offset: number, length: number): void {
    this.#change((writing) => {
      this.#eachWhole(offset, length, (cluster) => {
        // Version 2 cannot say that a cluster is 0 where something lies beneath it: the bytes stay, as they may.
        if (this.#header.version === 3 || !this.#isBacked(cluster)) this.#clear(cluster, false, writing);
      });
    });
  }

  writeZeroes(offset: number, length: number, mayUnmap: boolean): void {
    this.#change((writing) => {
      const end = offset + length;
      const [first, last] = this.#wholeClusters(offset, length);
      const size = this.#clusterSize;
      if (first >= last) return this.#storeZeroes(offset, length, writing);
      this.#storeZeroes(offset, first * size - offset, writing);
      this.#eachWhole(offset, length, (cluster) => this.#clear(cluster, !mayUnmap, writing));
      if (end > last * size) this.#storeZeroes(last * size, end - last * size, writing);
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Makes the counts right that somebody left wrong, and says so in the header. */
  repaired(): void {
    // What is known of bitmaps alone was not counted, and must not be relied on from here on.
    this.#begin();
    this.#committer?.flushNow();
    this.#setIncompatible(this.#incompatible & ~(1 << incompatible.dirty));
    this.#host.raw.flushNow();
  }

  async #close(): Promise<void> {
    try {
      // What a flush frees is counted in the file by the next one, where it has to be.
      while (this.#committer?.isClean === false) await this.flush();
    } finally {
      await this.#host.raw.close();
      await this.#backing?.close();
    }
  }

  #readSome(offset: number, target: Uint8Array): number {
    const size = this.#clusterSize;
    const cluster = Math.floor(offset / size);
    const within = offset - cluster * size;
    const kind = this.#find(cluster);
    let length = Math.min(size - within, target.length);
    if (kind === 'compressed') {
      target.set(this.#decompress(cluster).subarray(within, within + length));
      return length;
    }
    const place = kind === 'data' ? this.#place() : 0;
    // What lies together is read together.
    for (let next = cluster + 1; length < target.length; next++) {
      if (this.#find(next) !== kind) break;
      if (kind === 'data' && this.#place() !== place + (next - cluster) * size) break;
      length += Math.min(size, target.length - length);
    }
    const part = length === target.length ? target : target.subarray(0, length);
    if (kind === 'data') this.#host.read(place + within, part);
    else if (kind === 'zero' || this.#backing === undefined) part.fill(0);
    else this.#backing.read(offset, part);
    return length;
  }

  #find(cluster: number): ClusterKind {
    this.#mapping.find(cluster);
    return kindOf(this.#mapping.high, this.#mapping.low, this.#header.version);
  }

  /** Where the entry that was last found has its cluster. */
  #place(): number {
    const place = offsetOf(this.#mapping.high, this.#mapping.low);
    if (place % this.#clusterSize === 0) return place;
    throw this.#host.corrupt(`it has data at ${place}, which is no cluster`);
  }

  /** The compressed cluster that was last found. */
  #decompress(cluster: number): Uint8Array {
    const known = this.#decompressed.get(cluster);
    if (known !== undefined) return known;
    const { compression, clusterBits } = this.#header;
    const { high, low } = this.#mapping;
    const { offset, length } = compressedRange(high, low, clusterBits);
    const bytes = new Uint8Array(length);
    this.#host.read(offset, bytes);
    let result: Uint8Array;
    try {
      result = decompressCluster(bytes, compression, this.#clusterSize);
    } catch (cause) {
      const what = `the compressed cluster at ${offset} is no ${compression} of a cluster`;
      throw new HostError('BAD_IMAGE', `${this.path} is damaged: ${what}`, { cause });
    }
    for (const oldest of this.#decompressed.keys()) {
      if (this.#decompressed.size < mostDecompressed) break;
      this.#decompressed.delete(oldest);
    }
    this.#decompressed.set(cluster, result);
    return result;
  }

  /** All that changes the image goes through here. */
  #change(work: (writing: Writing) => void): void {
    if (this.#writing === undefined || this.#committer === undefined) {
      throw new UsageError('BAD_STATE', `${this.path} is open for reading only`);
    }
    if (this.#closing !== undefined) throw new HostError('IO_ERROR', `${this.path} is closed`);
    if (this.#host.damage !== undefined) throw this.#host.damage;
    try {
      if (!this.#begun) this.#begin();
      if (this.#committer.isCrowded) this.#committer.flushNow();
      work(this.#writing);
    } catch (error) {
      this.#markDamage();
      throw error;
    }
  }

  #write(offset: number, source: Uint8Array, writing: Writing): void {
    for (let done = 0; done < source.length; ) {
      done += this.#writeSome(offset + done, source.subarray(done), writing);
    }
  }

  #writeSome(offset: number, source: Uint8Array, writing: Writing): number {
    const size = this.#clusterSize;
    const cluster = Math.floor(offset / size);
    const within = offset - cluster * size;
    let length = Math.min(size - within, source.length);
    const place = this.#ownPlace(cluster, writing);
    if (place !== noPlace) {
      for (let next = cluster + 1; length < source.length; next++) {
        if (this.#ownPlace(next, writing) !== place + (next - cluster) * size) break;
        length += Math.min(size, source.length - length);
      }
      this.#host.write(place + within, source.subarray(0, length));
      return length;
    }
    if (length === size && !this.#reusable(writing)) return this.#writeNew(cluster, source, writing);
    this.#copyOnWrite(cluster, within, source.subarray(0, length), writing);
    return length;
  }

  /** Where a cluster can be written in place: it has data that nothing else refers to. */
  #ownPlace(cluster: number, writing: Writing): number {
    if (this.#find(cluster) !== 'data' || !isCopied(this.#mapping.high)) return noPlace;
    const place = this.#place();
    const count = writing.refcounts.get(place / this.#clusterSize);
    if (count === 0) throw this.#host.corrupt(`the cluster at ${place} is in use and counted as free`);
    writing.occupied.check(place / this.#clusterSize, 'data');
    return count === 1 ? place : noPlace;
  }

  /** True when what was last found reads as 0 and has a cluster that waits to be used. */
  #reusable({ refcounts, occupied }: Writing): boolean {
    const { high, low } = this.#mapping;
    if (kindOf(high, low, this.#header.version) !== 'zero' || !isCopied(high)) return false;
    const place = this.#place();
    if (place === 0 || refcounts.get(place / this.#clusterSize) !== 1) return false;
    occupied.check(place / this.#clusterSize, 'data');
    return true;
  }

  /** Whole clusters to new places, as many as come to lie together. */
  #writeNew(cluster: number, source: Uint8Array, writing: Writing): number {
    const { refcounts } = writing;
    const size = this.#clusterSize;
    const first = refcounts.allocate();
    let count = 1;
    /** Clusters that the image has, or that were given back. */
    let settled = 0;
    try {
      while ((count + 1) * size <= source.length) {
        if (this.#ownPlace(cluster + count, writing) !== noPlace || this.#reusable(writing)) break;
        const next = refcounts.allocate();
        if (next !== first + count) {
          refcounts.giveBack(next);
          break;
        }
        count++;
      }
      this.#host.write(first * size, source.subarray(0, count * size));
      while (settled < count) {
        const at = settled++;
        this.#refer(cluster + at, (first + at) * size, writing);
      }
    } catch (error) {
      for (; settled < count; settled++) refcounts.giveBack(first + settled);
      throw error;
    }
    return count * size;
  }

  /** A part of a cluster to a new place, with the rest of what it was. */
  #copyOnWrite(cluster: number, within: number, piece: Uint8Array, writing: Writing): void {
    const { refcounts } = writing;
    const size = this.#clusterSize;
    const kind = this.#find(cluster);
    const isBlank = kind === 'zero' || (kind === 'unallocated' && !this.#isBacked(cluster));
    const kept = this.#reusable(writing) ? this.#place() : noPlace;
    const place = kept === noPlace ? refcounts.allocate() * size : kept;
    try {
      if (kept === noPlace && this.#host.reserve(place, size) && isBlank) {
        this.#host.write(place + within, piece);
      } else {
        const whole = new Uint8Array(size);
        if (!isBlank) this.#readSome(cluster * size, whole);
        whole.set(piece, within);
        this.#host.write(place, whole);
      }
    } catch (error) {
      if (kept === noPlace) refcounts.giveBack(place / size);
      throw error;
    }
    this.#refer(cluster, place, writing);
  }

  /** Says where a cluster is now, and lets go of where it was. */
  #refer(cluster: number, place: number, writing: Writing): void {
    this.#find(cluster);
    const { high, low } = this.#mapping;
    const isOld = offsetOf(high, low) === place && kindOf(high, low, this.#header.version) === 'zero';
    try {
      this.#mapping.set(cluster, (highOf(place) | copied) >>> 0, lowOf(place), writing.refcounts);
    } catch (error) {
      if (!isOld) writing.refcounts.giveBack(place / this.#clusterSize);
      throw error;
    }
    if (!isOld) this.#release(cluster, high, low, writing);
  }

  /** An entry is gone: what it referred to is referred to by one fewer. */
  #release(cluster: number, high: number, low: number, { refcounts, occupied }: Writing): void {
    const size = this.#clusterSize;
    let [first, last] = [0, -1];
    if (kindOf(high, low, this.#header.version) === 'compressed') {
      const { offset, length } = compressedRange(high, low, this.#header.clusterBits);
      [first, last] = [Math.floor(offset / size), Math.floor((offset + length - 1) / size)];
      this.#decompressed.delete(cluster);
    } else {
      const place = offsetOf(high, low);
      if (place % size !== 0) throw this.#host.corrupt(`it has data at ${place}, which is no cluster`);
      if (place !== 0) [first, last] = [place / size, place / size];
    }
    for (let at = first; at <= last; at++) {
      occupied.check(at, 'data');
      refcounts.release(at);
    }
  }

  /** Makes a whole cluster read as 0. */
  #clear(cluster: number, keepRoom: boolean, writing: Writing): void {
    const { version } = this.#header;
    const kind = this.#find(cluster);
    const { high, low } = this.#mapping;
    const isBacked = this.#isBacked(cluster);
    if (kind === 'unallocated' && !isBacked) return;
    if (kind === 'zero' && (keepRoom || offsetOf(high, low) === 0)) return;
    if (version === 2 && isBacked) {
      const length = Math.min(this.#clusterSize, this.size - cluster * this.#clusterSize);
      this.#write(cluster * this.#clusterSize, new Uint8Array(length), writing);
    } else if (version === 3 && keepRoom && this.#ownPlace(cluster, writing) !== noPlace) {
      this.#mapping.set(cluster, high, (low | zeroFlag) >>> 0, writing.refcounts);
    } else {
      this.#mapping.set(cluster, 0, isBacked ? zeroFlag : 0, writing.refcounts);
      this.#release(cluster, high, low, writing);
    }
  }

  /** Writes zeroes to a part of a cluster, or to parts of two, unless it reads as 0 already. */
  #storeZeroes(offset: number, length: number, writing: Writing): void {
    for (let done = 0; done < length; ) {
      const cluster = Math.floor((offset + done) / this.#clusterSize);
      const count = Math.min(length - done, (cluster + 1) * this.#clusterSize - offset - done);
      const kind = this.#find(cluster);
      if (kind !== 'zero' && (kind !== 'unallocated' || this.#isBacked(cluster))) {
        this.#write(offset + done, new Uint8Array(count), writing);
      }
      done += count;
    }
  }

  /** Clusters that lie in the range with all their bytes; the disk's last one may be short. */
  #wholeClusters(offset: number, length: number): readonly [first: number, end: number] {
    const end = offset + length;
    const last = end === this.size ? Math.ceil(end / this.#clusterSize) : Math.floor(end / this.#clusterSize);
    return [Math.ceil(offset / this.#clusterSize), last];
  }

  #eachWhole(offset: number, length: number, step: (cluster: number) => void): void {
    const [first, end] = this.#wholeClusters(offset, length);
    const { perTable } = this.#mapping;
    for (let cluster = first; cluster < end; cluster++) {
      if (!this.#mapping.hasTable(cluster) && !this.#isBacked(cluster)) {
        cluster = (Math.floor(cluster / perTable) + 1) * perTable - 1;
      } else step(cluster);
    }
  }

  /** True where something beneath the image has bytes for a cluster. */
  #isBacked(cluster: number): boolean {
    return this.#backing !== undefined && cluster * this.#clusterSize < this.#backing.size;
  }

  /** Before the first change: what others promise of the image is not true from here on. */
  #begin(): void {
    if (this.#header.autoclear) {
      this.#host.write(headerField.autoclear_features, new Uint8Array(8));
      this.#host.raw.flushNow();
    }
    this.#begun = true;
  }

  /** Tells whoever opens the image next that it contradicts itself, where its version can say so. */
  #markDamage(): void {
    const bit = 1 << incompatible.corrupt;
    if (this.#host.damage === undefined || (this.#incompatible & bit) !== 0) return;
    if (this.#header.version === 2 || this.readOnly) return;
    try {
      this.#setIncompatible(this.#incompatible | bit);
    } catch {
      // The image is not written again in any case, and the damage itself is what is reported.
    }
  }

  #setIncompatible(bits: number): void {
    this.#host.write(headerField.incompatible_features + 7, Uint8Array.of(bits));
    this.#incompatible = bits;
  }

  #writeMoved({ offset, clusters }: { readonly offset: number; readonly clusters: number }): void {
    const bytes = new Uint8Array(12);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(offset));
    view.setUint32(8, clusters);
    this.#host.write(headerField.refcount_table_offset, bytes);
  }
}
