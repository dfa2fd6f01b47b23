import { PeerError, type PeerErrorCode } from '../../errors.ts';
import type { OrderedView } from '../../memory/atomics.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { deviceMistakes, type ErrorClauses } from '../../peer-errors.ts';
import { openArea } from '../area.ts';
import { checkBuffer, totalLength } from '../buffer-elements.ts';
import { type DriverRingOptions, indirectThreshold } from '../driver-options.ts';
import { DriverTables } from '../driver-tables.ts';
import { needEvent } from '../need-event.ts';
import type { BufferElement, DriverQueue, QueueAreas, QueuePosition, UsedBuffer } from '../queue.ts';
import * as virtqAvailFlags from './avail-flags.ts';
import { INDIRECT, NEXT, WRITE } from './desc-flags.ts';
import { splitRingAreas } from './layout.ts';
import * as virtqUsedFlags from './used-flags.ts';

const clauses: ErrorClauses = deviceMistakes;

/**
 * The driver's end of a split virtqueue (2.7). What it must know of a buffer it keeps to itself: nothing that
 * the device could have changed is read back.
 */
export class SplitDriverQueue<T> implements DriverQueue<T> {
  readonly size: number;
  readonly #memory: GuestMemory;
  readonly #areas: QueueAreas;
  readonly #options: DriverRingOptions;
  readonly #little: boolean;
  readonly #indirectFrom: number;
  readonly #tables: DriverTables | undefined;
  #error: PeerError | undefined;
  #sound = true;

  // Views of the three areas, good for `#version` of the memory. The first attach sets them.
  #descriptors!: DataView;
  #available!: OrderedView;
  #used!: OrderedView;
  #version = -1;

  /** The first free descriptor; each knows the next. With VIRTIO_F_IN_ORDER that is the next in the table. */
  #firstFree = 0;
  #free: number;
  readonly #next: Uint16Array;

  /** By head: descriptors in the table (0 when not in flight), device-writable bytes, when it was submitted. */
  readonly #counts: Uint16Array;
  readonly #writable: Float64Array;
  readonly #sequences: Float64Array;
  readonly #tokens: (T | undefined)[];
  /** By slot of the available ring: the head that was put there. */
  readonly #heads: Uint16Array;

  /** Buffers ever submitted, made visible, and polled; their low 16 bits are the ring's indexes. */
  #submitted = 0;
  #published = 0;
  #polled = 0;
  /** How far the device is known to have come. */
  #usedIndex = 0;
  /** With VIRTIO_F_IN_ORDER: the end of the batch that is being given out, and the used length of its last. */
  #batchEnd = 0;
  #batchWritten = 0;
  readonly #result: { token: T | undefined; written: number } = { token: undefined, written: 0 };

  /** `createDriverQueue` makes one, after it has checked the arguments. */
  constructor(memory: GuestMemory, areas: QueueAreas, options: DriverRingOptions) {
    const { size } = areas;
    this.size = size;
    this.#memory = memory;
    this.#areas = areas;
    this.#options = options;
    this.#little = options.endian === 'little';
    this.#indirectFrom = indirectThreshold(options);
    this.#tables = options.allocator && new DriverTables(memory, options.allocator, size);
    this.#free = size;
    this.#next = Uint16Array.from({ length: size }, (_, index) => (index + 1) % size);
    this.#counts = new Uint16Array(size);
    this.#writable = new Float64Array(size);
    this.#sequences = new Float64Array(size);
    this.#tokens = Array.from({ length: size }, () => undefined);
    this.#heads = new Uint16Array(size);
    this.#attach();
    if (this.#sound) this.#clear();
  }

  get error(): PeerError | undefined {
    return this.#error;
  }

  get free(): number {
    return this.#free;
  }

  get inFlight(): number {
    return this.#submitted - this.#polled;
  }

  /**
   * @spec 2.7.4.2 driver: Basic Facilities of a Virtio Device / Message Framing
   * @spec 2.7.5.3.1 driver: Basic Facilities of a Virtio Device / Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors
   */
  submit(readable: readonly BufferElement[], writable: readonly BufferElement[], token: T): boolean {
    const count = readable.length + writable.length;
    const writableBytes = totalLength(writable);
    checkBuffer(count, this.size, totalLength(readable) + writableBytes);
    if (!this.#isReady() || this.#free === 0) return false;
    const head = this.#firstFree;
    if (count >= this.#indirectFrom && this.#tables?.open(head, count)) {
      this.#writeTable(this.#tables, readable, writable);
      this.#writeDescriptor(this.#descriptors, 16 * head, this.#tables.address, 16 * count, INDIRECT, 0);
      this.#counts[head] = 1;
    } else {
      if (count > this.#free) return false;
      this.#writeDirect(head, readable, writable);
      this.#counts[head] = count;
    }
    this.#free -= this.#counts[head]!;
    this.#writable[head] = writableBytes;
    this.#sequences[head] = this.#submitted;
    this.#tokens[head] = token;
    const slot = this.#submitted & (this.size - 1);
    this.#heads[slot] = head;
    this.#available.view.setUint16(4 + 2 * slot, head, this.#little);
    this.#submitted++;
    return true;
  }

  /**
   * @spec 2.7.13.3.1 driver: Basic Facilities of a Virtio Device / Virtqueues / Supplying Buffers to The Device / Updating idx
   * @spec 2.7.13.4.1 driver: Basic Facilities of a Virtio Device / Virtqueues / Supplying Buffers to The Device / Notifying The Device
   * @spec 2.7.10.1 driver: Basic Facilities of a Virtio Device / Virtqueues / Available Buffer Notification Suppression
   */
  publish(): boolean {
    if (!this.#isReady() || this.#submitted === this.#published) return false;
    this.#available.storeRelease16(2, this.#submitted & 0xffff);
    const before = this.#published;
    this.#published = this.#submitted;
    if (!this.#options.eventIdx) return (this.#used.loadAcquire16(0) & virtqUsedFlags.NO_NOTIFY) === 0;
    return needEvent(this.#used.loadAcquire16(4 + 8 * this.size), this.#submitted, before);
  }

  /** The available index, whose bit 15 stands where a packed ring has its wrap counter. */
  notificationData(): number {
    return this.#published & 0xffff;
  }

  poll(): UsedBuffer<T> | undefined {
    if (!this.#isReady()) return undefined;
    if (this.#polled !== this.#batchEnd) return this.#give(this.#heads[this.#polled & (this.size - 1)]!);
    if ((this.#polled & 0xffff) === this.#usedIndex && !this.#look()) return undefined;
    const at = 4 + 8 * (this.#polled & (this.size - 1));
    const id = this.#used.view.getUint32(at, this.#little);
    let written = this.#used.view.getUint32(at + 4, this.#little);
    if (id >= this.size || this.#counts[id] === 0 || this.#sequences[id]! >= this.#published) {
      return this.#fail('USED_ID_INVALID', `used id ${id} is not in flight`);
    }
    if (written > this.#writable[id]! && this.#options.ignoresUsedLength === true) {
      written = this.#writable[id]!;
    } else if (written > this.#writable[id]!) {
      return this.#fail(
        'USED_LENGTH_INVALID',
        `${written} bytes written to ${this.#writable[id]} writable ones`,
      );
    }
    this.#batchWritten = written;
    this.#batchEnd = this.#polled + 1;
    if (!this.#options.inOrder) return this.#give(id);
    this.#batchEnd = this.#sequences[id]! + 1;
    if (this.#batchEnd - this.#polled > ((this.#usedIndex - this.#polled) & 0xffff)) {
      return this.#fail('USED_OUT_OF_ORDER', `used id ${id} came before its turn`);
    }
    return this.#give(this.#heads[this.#polled & (this.size - 1)]!);
  }

  /** @spec 2.7.7.1 driver: Basic Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression */
  enableNotifications(): boolean {
    if (!this.#isReady()) return false;
    if (this.#options.eventIdx) this.#available.storeRelease16(4 + 2 * this.size, this.#polled & 0xffff);
    else this.#available.storeRelease16(0, 0);
    return this.#polled !== this.#batchEnd || this.#look();
  }

  /** With an event index there is nothing to do: `used_event` stays behind, so nothing reaches it. */
  disableNotifications(): void {
    if (this.#options.eventIdx || !this.#isReady()) return;
    this.#available.storeRelease16(0, virtqAvailFlags.NO_INTERRUPT);
  }

  /** The descriptors of a buffer stay where they are; what is put in order again is the available ring. */
  restart(remembers: boolean): QueuePosition | undefined {
    if (!this.#isReady()) return undefined;
    if (!remembers && !this.#options.inOrder) {
      const inFlight = [...this.#counts.keys()].filter((head) => this.#counts[head] !== 0);
      inFlight.sort((a, b) => this.#sequences[a]! - this.#sequences[b]!);
      for (const [behind, head] of inFlight.entries()) {
        const sequence = this.#polled + behind;
        const slot = sequence & (this.size - 1);
        this.#sequences[head] = sequence;
        this.#heads[slot] = head;
        this.#available.view.setUint16(4 + 2 * slot, head, this.#little);
      }
    }
    const index = this.#polled & 0xffff;
    return { available: index, used: index };
  }

  close(): void {
    this.#sound = false;
    this.#tables?.close();
  }

  #isReady(): boolean {
    if (this.#memory.version !== this.#version && this.#sound) this.#attach();
    return this.#sound;
  }

  #attach(): void {
    const { descriptor, driver, device, size } = this.#areas;
    const { endian } = this.#options;
    const shape = splitRingAreas(size);
    const descriptors = openArea(this.#memory, descriptor, shape.descriptor.length, 'write', endian);
    const available = openArea(this.#memory, driver, shape.driver.length, 'write', endian);
    const used = openArea(this.#memory, device, shape.device.length, 'read', endian);
    if (descriptors === undefined || available === undefined || used === undefined) {
      this.#fail('ADDRESS_OUT_OF_BOUNDS', 'an area of the queue is not contiguous in memory');
      return;
    }
    this.#descriptors = descriptors.view;
    this.#available = available;
    this.#used = used;
    this.#version = this.#memory.version;
  }

  /** Memory may hold anything before, and a device must find indexes, flags and events at 0. */
  #clear(): void {
    for (const { buffer, byteOffset, byteLength } of [
      this.#descriptors,
      this.#available.view,
      this.#used.view,
    ]) {
      new Uint8Array(buffer, byteOffset, byteLength).fill(0);
    }
  }

  #writeDirect(head: number, readable: readonly BufferElement[], writable: readonly BufferElement[]): void {
    const count = readable.length + writable.length;
    let index = head;
    for (let i = 0; i < count; i++) {
      const isReadable = i < readable.length;
      const { address, length } = isReadable ? readable[i]! : writable[i - readable.length]!;
      const flags = (isReadable ? 0 : WRITE) | (i + 1 < count ? NEXT : 0);
      const next = this.#next[index]!;
      this.#writeDescriptor(this.#descriptors, 16 * index, address, length, flags, next);
      index = next;
    }
    this.#firstFree = index;
  }

  #writeTable(
    table: DriverTables,
    readable: readonly BufferElement[],
    writable: readonly BufferElement[],
  ): void {
    const count = readable.length + writable.length;
    for (let i = 0; i < count; i++) {
      const isReadable = i < readable.length;
      const { address, length } = isReadable ? readable[i]! : writable[i - readable.length]!;
      const flags = (isReadable ? 0 : WRITE) | (i + 1 < count ? NEXT : 0);
      this.#writeDescriptor(table.view, table.base + 16 * i, address, length, flags, (i + 1) % count);
    }
    this.#firstFree = this.#next[this.#firstFree]!;
  }

  #writeDescriptor(
    view: DataView,
    at: number,
    address: number,
    length: number,
    flags: number,
    next: number,
  ): void {
    const little = this.#little;
    const high = little ? 4 : 0;
    view.setUint32(at + high, address / 0x1_0000_0000, little);
    view.setUint32(at + 4 - high, address, little);
    view.setUint32(at + 8, length, little);
    view.setUint16(at + 12, flags, little);
    view.setUint16(at + 14, next, little);
  }

  /** Reads the used index; true when there is something to poll. */
  #look(): boolean {
    const index = this.#used.loadAcquire16(2);
    const ahead = (index - this.#polled) & 0xffff;
    if (ahead > this.#published - this.#polled) {
      this.#fail(
        'USED_INDEX_JUMP',
        `used index ${index} is ${ahead} ahead with ${this.#published - this.#polled} in flight`,
      );
      return false;
    }
    this.#usedIndex = index;
    return ahead !== 0;
  }

  /** Takes the buffer of `head` out. Those of a batch before its last count as completely written. */
  #give(head: number): UsedBuffer<T> {
    const result = this.#result;
    this.#polled++;
    // `head` is in flight, so that its token is there.
    result.token = this.#tokens[head] as T;
    result.written = this.#polled === this.#batchEnd ? this.#batchWritten : this.#writable[head]!;
    this.#tokens[head] = undefined;
    this.#release(head);
    // The token was set just now.
    return result as UsedBuffer<T>;
  }

  #release(head: number): void {
    const count = this.#counts[head]!;
    this.#counts[head] = 0;
    this.#free += count;
    if (this.#options.inOrder) return;
    let last = head;
    for (let i = 1; i < count; i++) last = this.#next[last]!;
    this.#next[last] = this.#firstFree;
    this.#firstFree = head;
  }

  #fail(code: PeerErrorCode, message: string): undefined {
    this.#sound = false;
    this.#error = new PeerError(code, message, clauses[code]);
  }
}
