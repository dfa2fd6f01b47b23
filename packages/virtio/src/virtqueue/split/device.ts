import { PeerError, type PeerErrorCode } from '../../errors.ts';
import type { OrderedView } from '../../memory/atomics.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { openArea } from '../area.ts';
import type { Chain } from '../chain.ts';
import type { ChainState } from '../chain-state.ts';
import { ChainsInFlight } from '../chains-in-flight.ts';
import { elementMessage } from '../element-message.ts';
import { IndirectTable } from '../indirect-table.ts';
import { needEvent } from '../need-event.ts';
import type { DeviceQueue, DeviceQueueState, QueueAreas, RingOptions } from '../queue.ts';
import { saveChain } from '../saved-chain.ts';
import { TakenOrder } from '../taken-order.ts';
import { splitRingAreas, virtqAvailFlags, virtqDescFlags, virtqUsedFlags } from './layout.ts';

const { NEXT, WRITE, INDIRECT } = virtqDescFlags;

/** The device's end of a split virtqueue (2.7). Indexes run freely and wrap at 65536. */
export class SplitDeviceQueue implements DeviceQueue {
  readonly size: number;
  readonly #memory: GuestMemory;
  readonly #areas: QueueAreas;
  readonly #options: RingOptions;
  readonly #little: boolean;
  readonly #chains: ChainsInFlight;
  readonly #order: TakenOrder | undefined;
  readonly #table: IndirectTable;
  #error: PeerError | undefined;
  /** False when broken or closed. */
  #sound = true;

  // Views of the three areas, good for `#version` of the memory. The first attach sets them.
  #descriptors!: DataView;
  #available!: OrderedView;
  #used!: OrderedView;
  #version = -1;

  /** The next entry of the available ring to read, and how far the driver is known to have come. */
  #nextAvailable: number;
  #availableIndex: number;
  /** The next used index, the one that the driver can see, and the one that it was last notified of. */
  #nextUsed: number;
  #published: number;
  #notified: number;
  /** With VIRTIO_F_IN_ORDER: where the open batch starts, and its last buffer. */
  #batchStart: number;
  #batchId = 0;
  #batchWritten = 0;

  /** `createDeviceQueue` makes one, after it has checked the arguments. */
  constructor(memory: GuestMemory, areas: QueueAreas, options: RingOptions, restored?: DeviceQueueState) {
    this.size = areas.size;
    this.#memory = memory;
    this.#areas = areas;
    this.#options = options;
    this.#little = options.endian === 'little';
    this.#chains = new ChainsInFlight(areas.size);
    this.#order = options.inOrder ? new TakenOrder(areas.size) : undefined;
    this.#table = new IndirectTable(memory);
    this.#nextAvailable = restored?.nextAvailable ?? 0;
    this.#availableIndex = this.#nextAvailable;
    this.#nextUsed = restored?.nextUsed ?? 0;
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
    if (!this.#isReady()) return undefined;
    if (this.#chains.hasRestored) return this.#chains.takeRestored();
    const position = this.#nextAvailable;
    if (position === this.#availableIndex && !this.#look()) return undefined;
    const slot = position & (this.size - 1);
    const head = this.#available.view.getUint16(4 + 2 * slot, this.#little);
    if (head >= this.size)
      return this.#fail('DESCRIPTOR_OUT_OF_RANGE', `head ${head} of a queue of ${this.size}`);
    if (this.#chains.has(head)) return this.#fail('HEAD_IN_FLIGHT', `head ${head} is in flight`);
    const chain = this.#chains.at(head);
    if (!this.#walk(head, chain.state)) return undefined;
    this.#chains.add(chain);
    this.#order?.push(chain);
    this.#nextAvailable = (position + 1) & 0xffff;
    return chain;
  }

  hasAvailable(): boolean {
    if (!this.#isReady()) return false;
    return this.#chains.hasRestored || this.#nextAvailable !== this.#availableIndex || this.#look();
  }

  /** @spec 2.7.8.2 device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Used Ring */
  complete(chain: Chain): void {
    if (!this.#chains.settle(chain) || !this.#isReady()) return;
    if (this.#order === undefined) {
      this.#writeUsed(this.#nextUsed, chain.id, chain.state.usedLength);
      this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
      this.#chains.free(chain);
    } else {
      for (let next = this.#order.shiftCompleted(); next !== undefined; next = this.#order.shiftCompleted()) {
        this.#useInOrder(next);
      }
    }
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

  /** @spec 2.7.10.2 device: Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression */
  enableNotifications(): boolean {
    if (!this.#isReady()) return false;
    if (this.#options.eventIdx) this.#used.storeRelease16(4 + 8 * this.size, this.#nextAvailable);
    else this.#used.storeRelease16(0, 0);
    return this.#chains.hasRestored || this.#look();
  }

  /** With an event index there is nothing to do: `avail_event` stays behind, so nothing reaches it. */
  disableNotifications(): void {
    if (this.#options.eventIdx || !this.#isReady()) return;
    this.#used.storeRelease16(0, virtqUsedFlags.NO_NOTIFY);
  }

  save(): DeviceQueueState {
    if (this.#isReady()) this.#publish();
    return {
      nextAvailable: this.#nextAvailable,
      nextUsed: this.#nextUsed,
      availableWrap: 1,
      usedWrap: 1,
      inFlight: (this.#order?.list() ?? this.#chains.live()).map(saveChain),
    };
  }

  close(): void {
    this.#sound = false;
    this.#chains.close();
  }

  /** True when the queue is sound; its views are fresh then. */
  #isReady(): boolean {
    if (this.#memory.version !== this.#version && this.#sound) this.#attach();
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
    this.#descriptors = descriptors.view;
    this.#available = available;
    this.#used = used;
    this.#version = this.#memory.version;
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
   * Reads each descriptor of a chain once, and checks it before it is used.
   *
   * @spec 2.7.5.3.2 device: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors
   */
  #walk(head: number, chain: ChainState): boolean {
    const little = this.#little;
    const high = little ? 4 : 0;
    let elements = chain.elements;
    let table = this.#descriptors;
    let base = 0;
    let entries = this.size;
    let inTable = false;
    let index = head;
    let count = 0;
    for (;;) {
      const at = base + 16 * index;
      const address =
        table.getUint32(at + high, little) * 0x1_0000_0000 + table.getUint32(at + 4 - high, little);
      const length = table.getUint32(at + 8, little);
      const flags = table.getUint16(at + 12, little);
      if ((flags & INDIRECT) !== 0) {
        if (!this.#mayEnterTable(flags, inTable, address, length)) return false;
        table = this.#table.view;
        base = this.#table.base;
        entries = length / 16;
        inTable = true;
        index = 0;
        continue;
      }
      if (count === this.size) {
        return this.#refuse('CHAIN_TOO_LONG', `a chain of more than ${this.size} descriptors`);
      }
      if (3 * count === elements.length) elements = chain.grow();
      elements[3 * count] = address;
      elements[3 * count + 1] = length;
      elements[3 * count + 2] = flags & WRITE;
      count++;
      if ((flags & NEXT) === 0) break;
      const next = table.getUint16(at + 14, little);
      if (next >= entries)
        return this.#refuse('DESCRIPTOR_OUT_OF_RANGE', `next ${next} of ${entries} descriptors`);
      if (this.#order !== undefined && next !== (inTable ? index + 1 : (index + 1) % this.size)) {
        return this.#refuse('DESCRIPTORS_OUT_OF_ORDER', `descriptor ${index} is followed by ${next}`);
      }
      index = next;
    }
    const problem = chain.resolve(this.#memory, count);
    return problem === undefined || this.#refuse(problem, elementMessage(problem, head));
  }

  #mayEnterTable(flags: number, inTable: boolean, address: number, length: number): boolean {
    if (!this.#options.indirect) return this.#refuse('INDIRECT_NOT_NEGOTIATED', 'an indirect descriptor');
    if (inTable) return this.#refuse('INDIRECT_NESTED', 'an indirect table inside another');
    if ((flags & NEXT) !== 0)
      return this.#refuse('INDIRECT_WITH_NEXT', 'a descriptor behind an indirect one');
    // `next` has 16 bits, so that nothing behind 65536 descriptors can be reached.
    if (length === 0 || length % 16 !== 0 || length > 16 * 0x1_0000) {
      return this.#refuse('INDIRECT_TABLE_SIZE', `an indirect table of ${length} bytes`);
    }
    if (this.#table.open(address, length)) return true;
    return this.#refuse('ADDRESS_OUT_OF_BOUNDS', `an indirect table at address 0x${address.toString(16)}`);
  }

  #writeUsed(index: number, id: number, written: number): void {
    const at = 4 + 8 * (index & (this.size - 1));
    this.#used.view.setUint32(at, id, this.#little);
    this.#used.view.setUint32(at + 4, written, this.#little);
  }

  /**
   * One used entry stands for a whole batch, with the id of its last buffer, and the driver takes those before
   * it for completely written. So a buffer that is not ends its batch.
   */
  #useInOrder(chain: Chain): void {
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    this.#batchId = chain.id;
    this.#batchWritten = chain.state.usedLength;
    if (chain.state.usedLength !== chain.state.writableLength) this.#closeBatch();
    this.#chains.free(chain);
  }

  #closeBatch(): void {
    this.#writeUsed(this.#batchStart, this.#batchId, this.#batchWritten);
    this.#batchStart = this.#nextUsed;
  }

  #publish(): void {
    if (this.#published === this.#nextUsed) return;
    if (this.#order !== undefined && this.#batchStart !== this.#nextUsed) this.#closeBatch();
    this.#used.storeRelease16(2, this.#nextUsed);
    this.#published = this.#nextUsed;
  }

  #restore(state: DeviceQueueState): void {
    const chains = this.#chains.restore(state.inFlight, this.#memory);
    if (chains === undefined) {
      this.#fail('ADDRESS_OUT_OF_BOUNDS', 'a saved chain is not in memory');
      return;
    }
    for (const chain of chains) this.#order?.push(chain);
  }

  #refuse(code: PeerErrorCode, message: string): false {
    this.#fail(code, message);
    return false;
  }

  #fail(code: PeerErrorCode, message: string): undefined {
    this.#sound = false;
    this.#error = new PeerError(code, message);
  }
}
