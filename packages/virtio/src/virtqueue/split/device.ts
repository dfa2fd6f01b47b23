import { PeerError } from '../../errors.ts';
import { type OrderedView, swap16, swap32 } from '../../memory/atomics.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { nowhere, type Region } from '../../memory/region.ts';
import type { CommonErrorCode } from '../../peer-errors.ts';
import { openArea } from '../area.ts';
import type { Chain } from '../chain.ts';
import type { ChainState } from '../chain-state.ts';
import { ChainsInFlight } from '../chains-in-flight.ts';
import { elementMessage } from '../element-message.ts';
import { IndirectTable } from '../indirect-table.ts';
import { needEvent } from '../need-event.ts';
import type {
  DeviceQueue,
  DeviceQueueState,
  DeviceRingOptions,
  ListChains,
  PutBack,
  QueueAreas,
} from '../queue.ts';
import type { RestoredQueue } from '../restored-queue.ts';
import { maxChainLength } from '../segments.ts';
import type { TakenOrder } from '../taken-order.ts';
import * as virtqAvailFlags from './avail-flags.ts';
import * as virtqDescFlags from './desc-flags.ts';
import { splitRingAreas } from './layout.ts';
import * as virtqUsedFlags from './used-flags.ts';

/** The device's end of a split virtqueue (2.7). Indexes run freely and wrap at 65536. */
export class SplitDeviceQueue implements DeviceQueue {
  readonly size: number = 0;
  readonly #memory: GuestMemory;
  readonly #changes: { readonly count: number };
  readonly #areas: QueueAreas;
  readonly #options: DeviceRingOptions;
  readonly #chains: ChainsInFlight;
  readonly #order: TakenOrder | undefined;
  readonly #table: IndirectTable;
  #error: PeerError | undefined;
  /** False when broken or closed. */
  #sound = true;

  // Views of the three areas (and the parts of them that hot code uses), good for `#version` of the memory. That
  // is -1 when `take` must look closer: the queue is not sound, or restored chains wait. The first attach sets them.
  #descriptors!: Uint32Array;
  #available!: OrderedView;
  #heads!: Uint16Array;
  #used!: OrderedView;
  #usedWords!: Uint32Array;
  /** The ring's byte order is not the host's. */
  #swapped = false;
  /** Of a free-running index: its slot in the ring. */
  readonly #mask: number = 0;
  /** A `next` below it needs no closer look: the queue's size, or 0 with VIRTIO_F_IN_ORDER. */
  readonly #freely: number = 0;
  /** Where the buffer before was. */
  #likelyRegion: Region = nowhere;
  #version = -1;

  /** The next entry of the available ring to read, and how far the driver is known to have come. */
  #nextAvailable = 0;
  #availableIndex = 0;
  /** The next used index, the one that the driver can see, and the one that it was last notified of. */
  #nextUsed = 0;
  #published = 0;
  #notified = 0;
  /** With VIRTIO_F_IN_ORDER: where the open batch starts. */
  #batchStart = 0;

  /** `createDeviceQueue` makes one, after it has checked the arguments. */
  constructor(memory: GuestMemory, areas: QueueAreas, options: DeviceRingOptions, restored?: RestoredQueue) {
    restored?.check(0x1_0000, areas.size);
    this.size = areas.size;
    this.#mask = areas.size - 1;
    this.#memory = memory;
    this.#changes = memory.changes;
    this.#areas = areas;
    this.#options = options;
    this.#chains = new ChainsInFlight(areas.size, options.viewOf);
    this.#order = options.order?.(areas.size, {
      pass: (chain) => {
        this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
        this.#chains.free(chain);
      },
      use: (id, written) => {
        this.#writeUsed(this.#batchStart, id, written);
        this.#batchStart = this.#nextUsed;
      },
    });
    this.#freely = this.#order === undefined ? areas.size : 0;
    this.#table = new IndirectTable(memory);
    this.#nextAvailable = restored?.state.nextAvailable ?? 0;
    this.#availableIndex = this.#nextAvailable;
    this.#nextUsed = restored?.state.nextUsed ?? 0;
    this.#published = this.#nextUsed;
    this.#notified = this.#nextUsed;
    this.#batchStart = this.#nextUsed;
    this.#attach();
    if (restored !== undefined && this.#sound) this.#restore(restored);
  }

  get error(): PeerError | undefined {
    return this.#error;
  }

  get inFlight(): number {
    return this.#chains.taken;
  }

  take(): Chain | undefined {
    if (this.#changes.count !== this.#version && !this.#mayReadRing()) return this.#takeRestored();
    if (this.#nextAvailable === this.#availableIndex && !this.#look()) return undefined;
    return this.#readChain();
  }

  hasAvailable(): boolean {
    if (!this.#isReady()) return false;
    return this.#chains.restored.length > 0 || this.#nextAvailable !== this.#availableIndex || this.#look();
  }

  /** @spec 2.7.8.2 device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Used Ring */
  complete(chain: Chain): void {
    if (this.#chains.settle(chain)) this.#giveBack(chain);
  }

  putBack(chain: Chain, putBack: PutBack): void {
    if (putBack(this.#chains, chain)) {
      this.#nextAvailable = (this.#nextAvailable - 1) & 0xffff;
      this.#order?.pop();
    } else this.#version = -1;
  }

  /** @spec 2.7.7.2 device: Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression */
  flush(): boolean {
    if (!this.#isReady()) return false;
    this.#publish();
    const before = this.#notified;
    const after = this.#nextUsed;
    if (after === before) return false;
    this.#notified = after;
    if (!this.#options.eventIdx) {
      return (this.#available.loadAcquire16(0) & virtqAvailFlags.NO_INTERRUPT) === 0;
    }
    const usedEvent = this.#available.loadAcquire16(4 + 2 * this.size);
    return needEvent(usedEvent, after, before);
  }

  publish(): void {
    if (this.#isReady()) this.#publish();
  }

  /** @spec 2.7.10.2 device: Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression */
  enableNotifications(): boolean {
    if (!this.#isReady()) return false;
    if (this.#options.eventIdx) this.#used.storeRelease16(4 + 8 * this.size, this.#nextAvailable);
    else this.#used.storeRelease16(0, 0);
    return this.hasAvailable();
  }

  /** With an event index there is nothing to do: `avail_event` stays behind, so nothing reaches it. */
  disableNotifications(): void {
    if (this.#options.eventIdx || !this.#isReady()) return;
    this.#used.storeRelease16(0, virtqUsedFlags.NO_NOTIFY);
  }

  save(list: ListChains): DeviceQueueState {
    if (this.#isReady()) this.#publish();
    return {
      nextAvailable: this.#nextAvailable,
      nextUsed: this.#nextUsed,
      availableWrap: 1,
      usedWrap: 1,
      inFlight: list(this.#chains, this.#order),
    };
  }

  close(): void {
    this.#sound = false;
    this.#version = -1;
    this.#chains.close();
  }

  /** Puts a settled chain into the used ring. On its own, so that `complete` is compiled into its caller. */
  #giveBack(chain: Chain): void {
    if (this.#changes.count !== this.#version && !this.#refresh()) return;
    if (this.#order !== undefined) {
      this.#order.complete();
      return;
    }
    this.#writeUsed(this.#nextUsed, chain.id, chain.written);
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    this.#chains.free(chain);
  }

  /** True when the queue is sound; its views are fresh then. */
  #isReady(): boolean {
    return this.#changes.count === this.#version || this.#refresh();
  }

  #refresh(): boolean {
    if (this.#sound) this.#attach();
    return this.#sound;
  }

  #attach(): void {
    const { descriptor, driver, device, size } = this.#areas;
    const { endian } = this.#options;
    const shape = splitRingAreas(size);
    const descriptors = openArea(this.#memory, descriptor, shape.descriptor.length, 'read', endian);
    const available = openArea(this.#memory, driver, shape.driver.length, 'read', endian);
    const used = openArea(this.#memory, device, shape.device.length, 'write', endian);
    if (descriptors === undefined || available === undefined || used === undefined) {
      this.#fail('ADDRESS_OUT_OF_BOUNDS', 'an area of the queue is not contiguous in memory');
      return;
    }
    this.#descriptors = descriptors.words;
    this.#swapped = descriptors.swapped;
    this.#likelyRegion = nowhere;
    this.#available = available;
    this.#heads = available.halves;
    this.#used = used;
    this.#usedWords = used.words;
    this.#version = this.#chains.restored.length > 0 ? -1 : this.#changes.count;
  }

  /** Reads the available index; true when there is something to take. */
  #look(): boolean {
    const index = this.#available.loadAcquire16(2);
    const ahead = (index - this.#nextAvailable) & 0xffff;
    if (ahead > this.size) {
      this.#fail(
        'AVAILABLE_INDEX_JUMP',
        `available index ${index} is ${ahead} ahead in a queue of ${this.size}`,
      );
      return false;
    }
    this.#availableIndex = index;
    return ahead !== 0;
  }

  /**
   * Reads the next available chain, each descriptor of it once: in the descriptor table, and in the indirect
   * table that may follow. It sees by itself whether all elements lie where most do, in the region of the chain
   * before; if not, `resolve` finds them.
   */
  #readChain(): Chain | undefined {
    // Literals are free in a hot loop, constants of a module a load each time; the types hold them equal.
    const NEXT: typeof virtqDescFlags.NEXT = 1;
    const WRITE: typeof virtqDescFlags.WRITE = 2;
    const INDIRECT: typeof virtqDescFlags.INDIRECT = 4;
    const position = this.#nextAvailable;
    const swapped = this.#swapped;
    let head = this.#heads[2 + (position & this.#mask)]!;
    if (swapped) head = swap16(head);
    if (head >= this.size) return this.#failHead(head);
    const chain = this.#chains.at(head);
    if (chain.turn !== 0) return this.#failHead(head);
    const region = this.#likelyRegion;
    const { start } = region;
    let { end } = region;
    let { elements } = chain;
    let room = this.#roomOf(elements);
    // The table that is read: where its descriptors start, and which `next` needs no closer look.
    let words = this.#descriptors;
    let base = 0;
    let freely = this.#freely;
    let index = head;
    let count = 0;
    let readableCount = 0;
    let readable = 0;
    let total = 0;
    for (;;) {
      // The mask changes nothing, and spares the additions below a check each.
      const at = (base + 4 * index) & 0x3fff_ffff;
      let low = words[at]!;
      let high = words[at + 1]!;
      let length = words[at + 2]!;
      let last = words[at + 3]!;
      if (swapped) {
        // The high half comes first in that order.
        const first = low;
        low = swap32(high);
        high = swap32(first);
        length = swap32(length);
        last = swapLast(last);
      }
      const address = high * 0x1_0000_0000 + low;
      if ((last & INDIRECT) !== 0) {
        if (!this.#enterTable(words, last, address, length)) return undefined;
        words = this.#table.words;
        base = this.#table.base >>> 2;
        freely = this.#order === undefined ? length >>> 4 : 0;
        index = 0;
        continue;
      }
      if (count === room) {
        if (count === this.size) return this.#failLong();
        elements = chain.grow();
        room = this.#roomOf(elements);
      }
      const slot = (2 * count) & 0xffff;
      elements[slot] = address;
      elements[slot + 1] = length;
      total += length;
      if ((last & WRITE) === 0) {
        if (count !== readableCount) return this.#failReadable();
        readableCount++;
        readable = total;
      }
      // No element lies before an end of -1.
      if (address < start || address + length > end) end = -1;
      count++;
      if ((last & NEXT) === 0) break;
      const next = last >>> 16;
      if (next >= freely && !this.#mayFollow(words, index, next)) return undefined;
      index = next;
    }
    if (end >= 0 && total <= maxChainLength) chain.accept(region, count, readableCount, readable, total);
    else if (!this.#resolve(chain, count, readableCount, readable, total)) return undefined;
    this.#nextAvailable = (position + 1) & 0xffff;
    this.#chains.add(chain);
    if (this.#order !== undefined) this.#order.push(chain);
    return chain;
  }

  /** False when something else comes first: the queue is not sound, or restored chains wait. */
  #mayReadRing(): boolean {
    return this.#refresh() && this.#chains.restored.length === 0;
  }

  #takeRestored(): Chain | undefined {
    return this.#sound ? this.#chains.restored.shift() : undefined;
  }

  /** How many elements go into an array, and may be in a chain. */
  #roomOf(elements: Float64Array): number {
    return Math.min(elements.length >>> 1, this.size);
  }

  /** Judges a `next` that is out of range, or of a queue with VIRTIO_F_IN_ORDER. */
  #mayFollow(words: Uint32Array, index: number, next: number): boolean {
    const isTable = words !== this.#descriptors;
    const entries = isTable ? this.#table.entries : this.size;
    if (next >= entries)
      return this.#refuse('DESCRIPTOR_OUT_OF_RANGE', `next ${next} of ${entries} descriptors`);
    if (next === index + 1 || (next === 0 && index + 1 === entries && !isTable)) return true;
    return this.#refuse('DESCRIPTORS_OUT_OF_ORDER', `descriptor ${index} is followed by ${next}`);
  }

  #resolve(
    chain: ChainState,
    count: number,
    readableCount: number,
    readable: number,
    total: number,
  ): boolean {
    const problem = chain.resolve(this.#memory, count, readableCount, readable, total);
    if (problem !== undefined) return this.#refuse(problem, elementMessage(problem));
    this.#likelyRegion = chain.likelyRegion;
    return true;
  }

  /**
   * Opens the table that an indirect descriptor in `words` refers to.
   *
   * @spec 2.7.5.3.2 device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors
   */
  #enterTable(words: Uint32Array, flags: number, address: number, length: number): boolean {
    if (words !== this.#descriptors)
      return this.#refuse('INDIRECT_NESTED', 'an indirect table inside another');
    if (!this.#mayEnterTable(flags, length)) return false;
    if (this.#table.open(address, length)) return true;
    return this.#refuse('ADDRESS_OUT_OF_BOUNDS', `an indirect table of ${length} bytes is not all in memory`);
  }

  #mayEnterTable(flags: number, length: number): boolean {
    if (!this.#options.indirect) return this.#refuse('INDIRECT_NOT_NEGOTIATED', 'an indirect descriptor');
    if ((flags & virtqDescFlags.NEXT) !== 0)
      return this.#refuse('INDIRECT_WITH_NEXT', 'a descriptor behind an indirect one');
    // `next` has 16 bits, so that nothing behind 65536 descriptors can be reached.
    const fits = length > 0 && length % 16 === 0 && length <= 16 * 0x1_0000;
    return fits || this.#refuse('INDIRECT_TABLE_SIZE', `an indirect table of ${length} bytes`);
  }

  #writeUsed(index: number, id: number, written: number): void {
    const words = this.#usedWords;
    const at = 1 + 2 * (index & this.#mask);
    words[at] = id;
    words[at + 1] = written;
    if (this.#swapped) swapWords(words, at, 2);
  }

  #publish(): void {
    if (this.#published === this.#nextUsed) return;
    if (this.#order !== undefined) this.#order.closeBatch();
    this.#used.storeRelease16(2, this.#nextUsed);
    this.#published = this.#nextUsed;
  }

  #restore(restored: RestoredQueue): void {
    const chains = restored.putBack(this.#chains, this.#memory);
    if (chains === undefined) {
      this.#fail('ADDRESS_OUT_OF_BOUNDS', 'a saved chain is not in memory');
      return;
    }
    this.#version = -1;
    for (const chain of chains) this.#order?.push(chain);
  }

  #failHead(head: number): undefined {
    if (head >= this.size)
      return this.#fail('DESCRIPTOR_OUT_OF_RANGE', `head ${head} of a queue of ${this.size}`);
    return this.#fail('HEAD_IN_FLIGHT', `head ${head} is in flight`);
  }

  #failLong(): undefined {
    return this.#fail('CHAIN_TOO_LONG', `a chain of more than ${this.size} descriptors`);
  }

  #failReadable(): undefined {
    return this.#fail(
      'READABLE_AFTER_WRITABLE',
      'a chain has a device-readable element behind a device-writable one',
    );
  }

  #refuse(code: CommonErrorCode, message: string): false {
    this.#fail(code, message);
    return false;
  }

  #fail(code: CommonErrorCode, message: string): undefined {
    this.#sound = false;
    this.#version = -1;
    this.#error = new PeerError(code, message);
  }
}

function swapWords(words: Uint32Array, at: number, count: number): void {
  for (let i = at; i < at + count; i++) words[i] = swap32(words[i]!);
}

/** The last word of a descriptor, `flags` below and `next` above, in a byte order that is not the host's. */
function swapLast(last: number): number {
  return ((swap16(last >>> 16) << 16) | swap16(last & 0xffff)) >>> 0;
}
