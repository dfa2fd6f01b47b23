import { PeerError, type PeerErrorCode } from '../../errors.ts';
import { loadAcquire32, type OrderedView, storeRelease32 } from '../../memory/atomics.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { nowhere, type Region } from '../../memory/region.ts';
import { type ErrorClauses, packedRingMistakes } from '../../peer-errors.ts';
import { openArea } from '../area.ts';
import { Chain } from '../chain.ts';
import type { ChainState } from '../chain-state.ts';
import { ChainsInFlight } from '../chains-in-flight.ts';
import { elementMessage } from '../element-message.ts';
import { IndirectTable } from '../indirect-table.ts';
import * as notLive from '../not-live.ts';
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
import { needPackedEvent } from './event.ts';
import { packedRingAreas, pvirtqDescFlags, ringEventFlags } from './layout.ts';
import { Position } from './position.ts';

const { NEXT, WRITE, INDIRECT, AVAIL, USED } = pvirtqDescFlags;

const clauses: ErrorClauses = packedRingMistakes;

/** The device's end of a packed virtqueue (2.8). */
export class PackedDeviceQueue implements DeviceQueue {
  readonly size: number = 0;
  readonly #memory: GuestMemory;
  readonly #changes: { readonly count: number };
  readonly #areas: QueueAreas;
  readonly #options: DeviceRingOptions;
  readonly #chains: ChainsInFlight;
  /** A chain to be filled: a packed ring tells its id last. The one that had the id before is the next. */
  #spare = new Chain();
  readonly #order: TakenOrder | undefined;
  readonly #table: IndirectTable;
  #error: PeerError | undefined;
  /** False when broken or closed. */
  #sound = true;

  // Views of the three areas, good for `#version` of the memory. That is -1 when
  // `take` must look closer: the queue is not sound, or restored chains wait. The first attach sets them.
  #ring!: OrderedView;
  #driverEvents!: OrderedView;
  #deviceEvents!: OrderedView;
  /** Where the buffer before was. */
  #likelyRegion: Region = nowhere;
  #version = -1;

  /** The next descriptor to be made available, and where the next used one is written. */
  readonly #available: Position;
  readonly #used: Position;
  /** Descriptors that the driver has made available and has not seen used; those that it cannot see used yet. */
  #entries = 0;
  #unpublished = 0;
  /** Descriptors used since the last notification was decided on. */
  #unnotified = 0;
  /** The first used descriptor that the driver cannot see yet: its flags are written last. */
  readonly #held: Position;
  #heldFlags = -1;
  /** With VIRTIO_F_IN_ORDER: where the open batch starts. */
  readonly #batch: Position;

  /** `createDeviceQueue` makes one, after it has checked the arguments. */
  constructor(memory: GuestMemory, areas: QueueAreas, options: DeviceRingOptions, restored?: RestoredQueue) {
    const { size } = areas;
    restored?.check(size, size);
    const position = restored?.state;
    this.size = size;
    this.#memory = memory;
    this.#changes = memory.changes;
    this.#areas = areas;
    this.#options = options;
    this.#chains = new ChainsInFlight(size);
    this.#order = options.order?.(size, {
      pass: (chain) => this.#advanceUsed(chain),
      use: (id, written) => {
        this.#writeUsed(this.#batch, id, written);
        this.#batch.set(this.#used);
      },
    });
    this.#table = new IndirectTable(memory);
    this.#available = new Position(size, position?.nextAvailable, position?.availableWrap);
    this.#used = new Position(size, position?.nextUsed, position?.usedWrap);
    this.#batch = new Position(size, position?.nextUsed, position?.usedWrap);
    this.#held = new Position(size);
    this.#attach();
    if (restored !== undefined && this.#sound) this.#restore(restored);
  }

  get error(): PeerError | undefined {
    return this.#error;
  }

  get inFlight(): number {
    return this.#chains.taken;
  }

  /** @spec 2.8.15 device: Basic Facilities of a Virtio Device / Packed Virtqueues / The Virtqueue Descriptor Table */
  take(): Chain | undefined {
    if (this.#changes.count !== this.#version && !this.#mayReadRing()) return this.#takeRestored();
    const flags = this.#ring.loadAcquire16(16 * this.#available.offset + 14);
    if ((flags & (AVAIL | USED)) !== this.#available.availableBits) return undefined;
    return this.#readChain(flags);
  }

  hasAvailable(): boolean {
    return this.#isReady() && (this.#chains.restored.length > 0 || this.#look());
  }

  complete(chain: Chain): void {
    if (this.#chains.settle(chain)) this.#giveBack(chain);
  }

  putBack(chain: Chain, putBack: PutBack): void {
    const { entries } = chain;
    if (putBack(this.#chains, chain)) {
      this.#entries -= entries;
      this.#available.retreat(entries);
      this.#order?.pop();
    } else this.#version = -1;
  }

  flush(): boolean {
    if (!this.#isReady()) return false;
    this.#publish();
    // What was held back may be more than the ring has: then every place was passed.
    const count = Math.min(this.#unnotified, this.size);
    if (count === 0) return false;
    this.#unnotified = 0;
    const suppression = loadAcquire32(this.#driverEvents, 0);
    return needPackedEvent(suppression, this.#used, count, this.size, this.#options.eventIdx);
  }

  publish(): void {
    if (this.#isReady()) this.#publish();
  }

  enableNotifications(): boolean {
    if (!this.#isReady()) return false;
    const { ENABLE, DESC } = ringEventFlags;
    const wanted = this.#options.eventIdx ? (DESC << 16) | this.#available.packed : ENABLE << 16;
    storeRelease32(this.#deviceEvents, 0, wanted);
    return this.hasAvailable();
  }

  disableNotifications(): void {
    if (this.#isReady()) storeRelease32(this.#deviceEvents, 0, ringEventFlags.DISABLE << 16);
  }

  save(list: ListChains): DeviceQueueState {
    if (this.#isReady()) this.#publish();
    return {
      nextAvailable: this.#available.offset,
      nextUsed: this.#used.offset,
      availableWrap: this.#available.wrap,
      usedWrap: this.#used.wrap,
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
    this.#writeUsed(this.#used, chain.id, chain.written);
    this.#advanceUsed(chain);
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
    const shape = packedRingAreas(size);
    const ring = openArea(this.#memory, descriptor, shape.descriptor.length, 'write', 'little');
    const driverEvents = openArea(this.#memory, driver, shape.driver.length, 'read', 'little');
    const deviceEvents = openArea(this.#memory, device, shape.device.length, 'write', 'little');
    if (ring === undefined || driverEvents === undefined || deviceEvents === undefined) {
      this.#fail('ADDRESS_OUT_OF_BOUNDS', 'an area of the queue is not contiguous in memory');
      return;
    }
    this.#ring = ring;
    this.#driverEvents = driverEvents;
    this.#deviceEvents = deviceEvents;
    this.#likelyRegion = nowhere;
    this.#version = this.#chains.restored.length > 0 ? -1 : this.#changes.count;
  }

  #look(): boolean {
    const flags = this.#ring.loadAcquire16(16 * this.#available.offset + 14);
    return (flags & (AVAIL | USED)) === this.#available.availableBits;
  }

  /** Reads the next available chain into the spare one; `headFlags` are those of its first descriptor. */
  #readChain(headFlags: number): Chain | undefined {
    if (this.#entries === this.size) {
      this.#refuseFull(0);
      return undefined;
    }
    const chain = this.#spare;
    if (
      !((headFlags & INDIRECT) === 0 ? this.#walkList(headFlags, chain) : this.#walkTable(headFlags, chain))
    ) {
      return undefined;
    }
    this.#entries += chain.entries;
    this.#available.advance(chain.entries);
    this.#spare = this.#chains.at(chain.id);
    this.#chains.byId[chain.id] = chain;
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

  /**
   * Reads a list of descriptors linked by NEXT, each once; the flags of the first are read already. It sees by
   * itself whether all elements lie where most do, in the region of the chain before; if not, `resolve` finds
   * them.
   *
   * @spec 2.8.12 device: Basic Facilities of a Virtio Device / Packed Virtqueues
   */
  #walkList(headFlags: number, chain: ChainState): boolean {
    // Literals are free in a hot loop, constants of a module a load each time; the types hold them equal.
    const NEXT: typeof pvirtqDescFlags.NEXT = 1;
    const WRITE: typeof pvirtqDescFlags.WRITE = 2;
    /** AVAIL and USED. */
    const BOTH = 0x8080;
    const { size } = this;
    const { view } = this.#ring;
    const region = this.#likelyRegion;
    const { start } = region;
    let { end } = region;
    let { elements } = chain;
    let room = elements.length >>> 1;
    let { offset, availableBits } = this.#available;
    const mostEntries = size - this.#entries;
    let flags = headFlags;
    let count = 0;
    let readableCount = 0;
    let readable = 0;
    let total = 0;
    for (;;) {
      // The mask changes nothing, and spares the additions below a check each.
      const at = (16 * offset) & 0xf_ffff;
      const address = view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);
      const length = view.getUint32(at + 8, true);
      if (count === room) {
        elements = chain.grow();
        room = elements.length >>> 1;
      }
      const slot = (2 * count) & 0xffff;
      elements[slot] = address;
      elements[slot + 1] = length;
      total += length;
      if ((flags & WRITE) === 0) {
        if (count !== readableCount) return this.#refuseReadable();
        readableCount++;
        readable = total;
      }
      // No element lies before an end of -1.
      if (address < start || address + length > end) end = -1;
      count++;
      if ((flags & NEXT) === 0) break;
      if (count === mostEntries) return this.#refuseFull(count);
      if (++offset === size) {
        offset = 0;
        availableBits ^= BOTH;
      }
      flags = view.getUint16(16 * offset + 14, true);
      if ((flags & BOTH) !== availableBits) {
        return this.#refuse('PACKED_CHAIN_INCOMPLETE', `descriptor ${offset} of a list is not available`);
      }
      if ((flags & INDIRECT) !== 0) {
        return this.#refuse('PACKED_INDIRECT_IN_CHAIN', `descriptor ${offset} of a list is indirect`);
      }
    }
    chain.entries = count;
    if (!this.#mayUse(chain, view.getUint16(16 * offset + 12, true))) return false;
    if (end < 0 || total > maxChainLength) return this.#resolve(chain, count, readableCount, readable, total);
    chain.accept(region, count, readableCount, readable, total);
    return true;
  }

  /** Reads an indirect table: its entries follow one another, and only their WRITE flag means anything. */
  #walkTable(headFlags: number, chain: ChainState): boolean {
    const at = 16 * this.#available.offset;
    const ring = this.#ring.view;
    const address = ring.getUint32(at + 4, true) * 0x1_0000_0000 + ring.getUint32(at, true);
    const length = ring.getUint32(at + 8, true);
    const id = ring.getUint16(at + 12, true);
    if (!this.#mayEnterTable(headFlags, length)) return false;
    if (!this.#table.open(address, length)) {
      return this.#refuse(
        'ADDRESS_OUT_OF_BOUNDS',
        `an indirect table of ${length} bytes is not all in memory`,
      );
    }
    const { view, base } = this.#table;
    const region = this.#likelyRegion;
    const { start } = region;
    let { end } = region;
    let { elements } = chain;
    let room = elements.length >>> 1;
    let count = 0;
    let readableCount = 0;
    let readable = 0;
    let total = 0;
    for (let entry = base; entry < base + length; entry += 16) {
      const buffer = view.getUint32(entry + 4, true) * 0x1_0000_0000 + view.getUint32(entry, true);
      const bytes = view.getUint32(entry + 8, true);
      const flags = view.getUint16(entry + 14, true);
      if (count === room) {
        elements = chain.grow();
        room = elements.length >>> 1;
      }
      elements[2 * count] = buffer;
      elements[2 * count + 1] = bytes;
      total += bytes;
      if ((flags & WRITE) === 0) {
        if (count !== readableCount) return this.#refuseReadable();
        readableCount++;
        readable = total;
      }
      if (buffer < start || buffer + bytes > end) end = -1;
      count++;
    }
    chain.entries = 1;
    if (!this.#mayUse(chain, id)) return false;
    if (end < 0 || total > maxChainLength) return this.#resolve(chain, count, readableCount, readable, total);
    chain.accept(region, count, readableCount, readable, total);
    return true;
  }

  #mayEnterTable(flags: number, length: number): boolean {
    if (!this.#options.indirect)
      return this.#refuse('PACKED_INDIRECT_NOT_NEGOTIATED', 'an indirect descriptor');
    if ((flags & NEXT) !== 0)
      return this.#refuse('PACKED_INDIRECT_IN_CHAIN', 'an indirect descriptor with NEXT');
    if (length === 0 || length % 16 !== 0) {
      return this.#refuse('PACKED_INDIRECT_TABLE_SIZE', `an indirect table of ${length} bytes`);
    }
    if (length <= 16 * this.size) return true;
    return this.#refuse('PACKED_CHAIN_TOO_LONG', `an indirect table of ${length / 16} descriptors`);
  }

  #mayUse(chain: ChainState, id: number): boolean {
    if (id >= this.size) {
      return this.#refuse('BUFFER_ID_INVALID', `buffer id ${id} in a queue of ${this.size}`);
    }
    if ((this.#chains.byId[id]?.turn ?? notLive.FREE) !== notLive.FREE)
      return this.#refuse('BUFFER_ID_INVALID', `buffer id ${id} is in flight`);
    chain.id = id;
    return true;
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

  /** The first used descriptor behind what the driver has seen becomes visible last, by `#publish`. */
  #writeUsed(position: Position, id: number, written: number): void {
    const at = 16 * position.offset;
    const flags = position.usedBits | (written > 0 ? WRITE : 0);
    this.#ring.view.setUint32(at + 8, written, true);
    this.#ring.view.setUint16(at + 12, id, true);
    if (this.#heldFlags < 0) {
      this.#held.set(position);
      this.#heldFlags = flags;
    } else {
      this.#ring.storeRelease16(at + 14, flags);
    }
  }

  #advanceUsed(chain: Chain): void {
    this.#used.advance(chain.entries);
    this.#unpublished += chain.entries;
    this.#unnotified += chain.entries;
    this.#chains.free(chain);
  }

  #publish(): void {
    if (this.#order !== undefined) this.#order.closeBatch();
    if (this.#heldFlags < 0) return;
    this.#ring.storeRelease16(16 * this.#held.offset + 14, this.#heldFlags);
    this.#heldFlags = -1;
    this.#entries -= this.#unpublished;
    this.#unpublished = 0;
  }

  #restore(restored: RestoredQueue): void {
    const chains = restored.putBack(this.#chains, this.#memory);
    if (chains === undefined) {
      this.#fail('ADDRESS_OUT_OF_BOUNDS', 'a saved chain is not in memory');
      return;
    }
    this.#version = -1;
    for (const chain of chains) {
      this.#entries += chain.entries;
      this.#order?.push(chain);
    }
  }

  /** A list that would go on behind its `count` descriptors, into those that are in flight. */
  #refuseFull(count: number): false {
    return count === this.size
      ? this.#refuse('PACKED_CHAIN_TOO_LONG', `a list of more than ${this.size} descriptors`)
      : this.#refuse('PACKED_DESCRIPTOR_IN_FLIGHT', 'a descriptor was made available before it was used');
  }

  #refuseReadable(): false {
    return this.#refuse(
      'READABLE_AFTER_WRITABLE',
      'a chain has a device-readable element behind a device-writable one',
    );
  }

  #refuse(code: PeerErrorCode, message: string): false {
    this.#fail(code, message);
    return false;
  }

  #fail(code: PeerErrorCode, message: string): undefined {
    this.#sound = false;
    this.#version = -1;
    this.#error = new PeerError(code, message, clauses[code]);
  }
}
