import type { QueueWatch } from '../device/active-queue.ts';
import { PeerError } from '../errors.ts';
import type { OrderedView } from '../memory/atomics.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { openArea } from '../virtqueue/area.ts';
import type { Chain } from '../virtqueue/chain.ts';
import { PvirtqDesc, pvirtqDescFlags } from '../virtqueue/packed/layout.ts';
import type { DeviceQueueState, QueueAreas } from '../virtqueue/queue.ts';
import { DescStatePacked, packedInflightVersion, QueueRegionPacked } from './inflight-layout.ts';
import { type RawDescriptor, recoverPackedChain } from './recovered-chain.ts';

const header = QueueRegionPacked.field;
const state = DescStatePacked.field;
const ring = PvirtqDesc.field;
const { AVAIL, USED } = pvirtqDescFlags;
const wrapBit = 0x8000;

/**
 * Keeps what is in flight in a packed queue where the death of this process does not reach it. The ring's descriptors
 * are copied, since what is used overwrites them.
 */
export class PackedInflight implements QueueWatch {
  readonly #region: OrderedView;
  readonly #memory: GuestMemory;
  readonly #areas: QueueAreas;
  readonly #size: number;
  /** The first entry of each buffer in flight by its id; `size` where there is none. */
  readonly #entryOf: Uint16Array;
  /** Entries that hold nothing. */
  readonly #free: Uint16Array;
  #freeCount = 0;
  /** First entries of what is given back and not published. */
  readonly #batch: Uint16Array;
  #batchSize = 0;
  #counter = 0n;
  /** Where the next buffer will be taken from the ring, and where the next one is given back, with its wrap counter. */
  #available = 0;
  #used = wrapBit;
  #ring: OrderedView | undefined;
  #version = -1;

  /** `region` are the bytes of this queue, those of `areas.size` descriptors. */
  constructor(region: OrderedView, memory: GuestMemory, areas: QueueAreas) {
    this.#region = region;
    this.#memory = memory;
    this.#areas = areas;
    this.#size = areas.size;
    this.#entryOf = new Uint16Array(areas.size).fill(areas.size);
    this.#free = new Uint16Array(areas.size);
    this.#batch = new Uint16Array(areas.size);
  }

  /**
   * Where the queue goes on: behind what was taken before, which is taken once more first, in the order of then. A new
   * region begins at `first`, an offset with its wrap counter in bit 15.
   */
  recover(first: number): DeviceQueueState | PeerError {
    const { view } = this.#region;
    if (header.version.get(view) !== packedInflightVersion) this.#begin(first);
    if (!this.#settleLastBatch()) return noneAnyMore('the place in the ring');
    const entries = this.#inFlight();
    const lists = entries.map((entry) => this.#listFrom(entry));
    this.#freeAllBut(lists.flat());
    const saved = lists.map((list) => this.#recoverChain(list));
    const inFlight = saved.filter((chain) => chain !== undefined);
    const count = inFlight.reduce((sum, chain) => sum + chain.count, 0);
    if (inFlight.length < entries.length || count + this.#freeCount !== this.#size) {
      return noneAnyMore('a buffer that was in flight');
    }
    for (const [i, { id }] of inFlight.entries()) this.#entryOf[id] = entries[i]!;
    this.#takeBack(count);
    const available = this.#behind(this.#used, count);
    this.#available = available & ~wrapBit;
    this.#counter = entries.length === 0 ? 0n : state.counter.get(view, this.#at(entries.at(-1)!)) + 1n;
    return {
      nextAvailable: available & ~wrapBit,
      availableWrap: available >>> 15,
      nextUsed: this.#used & ~wrapBit,
      usedWrap: this.#used >>> 15,
      inFlight,
    };
  }

  taken(chain: Chain): void {
    // It may have been taken before, by a process that has died. There are as many entries as descriptors.
    if (this.#entryOf[chain.id]! < this.#size || chain.entries > this.#freeCount) return;
    const { view } = this.#region;
    const first = this.#free[this.#freeCount - 1]!;
    const at = this.#at(first);
    let last = first;
    for (let i = 0; i < chain.entries; i++) {
      const entry = this.#free[--this.#freeCount]!;
      this.#copy(this.#available, this.#at(entry));
      state.next.set(view, this.#at(last), entry);
      last = entry;
      this.#available = (this.#available + 1) % this.#size;
    }
    state.last.set(view, at, last);
    state.num.set(view, at, chain.entries);
    state.counter.set(view, at, this.#counter++);
    this.#flag(first, 1);
    this.#entryOf[chain.id] = first;
  }

  untaken(chain: Chain): void {
    const first = this.#entryOf[chain.id]!;
    if (first >= this.#size) return;
    this.#flag(first, 0);
    this.#release(first);
    this.#available = (this.#available + this.#size - chain.entries) % this.#size;
    this.#entryOf[chain.id] = this.#size;
  }

  completed(chain: Chain): void {
    const first = this.#entryOf[chain.id]!;
    if (first >= this.#size) return;
    const { view } = this.#region;
    const last = state.last.get(view, this.#at(first));
    state.next.set(view, this.#at(last), header.last_batch_head.get(view));
    this.#region.storeRelease16(header.last_batch_head.offset, first);
    this.#used = this.#behind(this.#used, chain.entries);
    this.#region.storeRelease16(header.used.offset, this.#used);
    this.#batch[this.#batchSize++] = first;
    this.#entryOf[chain.id] = this.#size;
  }

  published(): void {
    if (this.#batchSize === 0) return;
    for (let i = 0; i < this.#batchSize; i++) this.#flag(this.#batch[i]!, 0);
    this.#region.storeRelease16(header.old_used.offset, this.#used);
    this.#region.storeRelease16(header.last_batch_head.offset, this.#size);
    for (let i = 0; i < this.#batchSize; i++) this.#release(this.#batch[i]!);
    this.#batchSize = 0;
  }

  #at(entry: number): number {
    return QueueRegionPacked.size + entry * DescStatePacked.size;
  }

  #begin(first: number): void {
    const { view } = this.#region;
    for (let entry = 0; entry < this.#size; entry++) this.#flag(entry, 0);
    header.desc_num.set(view, 0, this.#size);
    header.last_batch_head.set(view, 0, this.#size);
    header.used.set(view, 0, first);
    header.old_used.set(view, 0, first);
    this.#region.storeRelease16(header.version.offset, packedInflightVersion);
  }

  /** The process may have died before it published a batch, or between that and striking it off. */
  #settleLastBatch(): boolean {
    const { view } = this.#region;
    const used = header.used.get(view);
    const before = header.old_used.get(view);
    if ((used & ~wrapBit) >= this.#size || (before & ~wrapBit) >= this.#size) return false;
    const isPublished = used !== before && !this.#isAvailable(before);
    if (isPublished) {
      let first = header.last_batch_head.get(view);
      for (let i = 0; i < this.#size && first < this.#size; i++) {
        this.#flag(first, 0);
        const last = state.last.get(view, this.#at(first));
        first = last < this.#size ? state.next.get(view, this.#at(last)) : this.#size;
      }
    }
    this.#used = isPublished ? used : before;
    this.#region.storeRelease16(header.old_used.offset, this.#used);
    this.#region.storeRelease16(header.used.offset, this.#used);
    this.#region.storeRelease16(header.last_batch_head.offset, this.#size);
    return true;
  }

  /** True when the driver has not got back what it made available at a place. */
  #isAvailable(place: number): boolean {
    const flags = this.#readRing()?.view.getUint16(16 * (place & ~wrapBit) + ring.flags.offset, true) ?? 0;
    return (flags & (AVAIL | USED)) === availableBits(place);
  }

  /**
   * What was given back and not published has left its marks in the ring. The driver must not take them for true once
   * something before them is published.
   */
  #takeBack(count: number): void {
    const view = this.#readRing()?.view;
    for (let i = 0, place = this.#used; i < count && view !== undefined; i++) {
      const at = 16 * (place & ~wrapBit) + ring.flags.offset;
      const flags = view.getUint16(at, true);
      view.setUint16(at, (flags & ~(AVAIL | USED)) | availableBits(place), true);
      place = this.#behind(place, 1);
    }
  }

  /** First entries of what is in flight, the oldest first. */
  #inFlight(): number[] {
    const { view } = this.#region;
    const entries: number[] = [];
    for (let entry = 0; entry < this.#size; entry++) {
      if (state.inflight.get(view, this.#at(entry)) === 1) entries.push(entry);
    }
    const counter = (entry: number): bigint => state.counter.get(view, this.#at(entry));
    return entries.sort((a, b) => (counter(a) < counter(b) ? -1 : 1));
  }

  /** The entries of a buffer; fewer than it says when they are not sound. */
  #listFrom(first: number): number[] {
    const { view } = this.#region;
    const count = Math.min(state.num.get(view, this.#at(first)), this.#size);
    const list: number[] = [];
    for (let entry = first; list.length < count && entry < this.#size; ) {
      list.push(entry);
      entry = state.next.get(view, this.#at(entry));
    }
    return list;
  }

  #recoverChain(list: readonly number[]): ReturnType<typeof recoverPackedChain> {
    const { view } = this.#region;
    const descriptors = list.map((entry): RawDescriptor => {
      const { addr, len, flags, id } = DescStatePacked.read(view, this.#at(entry));
      return { address: Number(addr), length: len, flags, last: id };
    });
    return recoverPackedChain(this.#memory, this.#size, descriptors);
  }

  #freeAllBut(entries: readonly number[]): void {
    const taken = new Set(entries);
    this.#freeCount = 0;
    for (let entry = 0; entry < this.#size; entry++) {
      if (!taken.has(entry)) this.#free[this.#freeCount++] = entry;
    }
  }

  #release(first: number): void {
    const { view } = this.#region;
    let entry = first;
    for (let left = state.num.get(view, this.#at(first)); left > 0 && this.#freeCount < this.#size; left--) {
      this.#free[this.#freeCount++] = entry;
      entry = state.next.get(view, this.#at(entry));
    }
  }

  #copy(offset: number, at: number): void {
    const from = this.#readRing()?.view;
    if (from === undefined) return;
    const { view, little } = this.#region;
    const base = 16 * offset;
    view.setUint32(at + state.addr.offset + (little ? 0 : 4), from.getUint32(base, true), little);
    view.setUint32(at + state.addr.offset + (little ? 4 : 0), from.getUint32(base + 4, true), little);
    view.setUint32(at + state.len.offset, from.getUint32(base + ring.len.offset, true), little);
    view.setUint16(at + state.id.offset, from.getUint16(base + ring.id.offset, true), little);
    view.setUint16(at + state.flags.offset, from.getUint16(base + ring.flags.offset, true), little);
  }

  #readRing(): OrderedView | undefined {
    if (this.#version !== this.#memory.version) {
      this.#ring = openArea(this.#memory, this.#areas.descriptor, 16 * this.#size, 'write', 'little');
      this.#version = this.#memory.version;
    }
    return this.#ring;
  }

  #behind(place: number, count: number): number {
    const offset = (place & ~wrapBit) + count;
    return offset < this.#size
      ? (place & wrapBit) | offset
      : ((place ^ wrapBit) & wrapBit) | (offset - this.#size);
  }

  #flag(entry: number, value: 0 | 1): void {
    // With the byte behind it, which is padding.
    this.#region.storeRelease16(this.#at(entry), this.#region.little ? value : value << 8);
  }
}

/** The flags with which a driver makes a descriptor available at a place. */
function availableBits(place: number): number {
  return (place & wrapBit) !== 0 ? AVAIL : USED;
}

function noneAnyMore(what: string): PeerError {
  return new PeerError('BAD_MESSAGE', `vhost-user: ${what} is none any more`);
}
