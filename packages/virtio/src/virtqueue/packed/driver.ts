import { PeerError, type PeerErrorCode } from '../../errors.ts';
import { loadAcquire32, type OrderedView, storeRelease32 } from '../../memory/atomics.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { deviceMistakes, type ErrorClauses } from '../../peer-errors.ts';
import { openArea } from '../area.ts';
import { checkBuffer, totalLength } from '../buffer-elements.ts';
import { type DriverRingOptions, indirectThreshold } from '../driver-options.ts';
import { DriverTables } from '../driver-tables.ts';
import type { BufferElement, DriverQueue, QueueAreas, QueuePosition, UsedBuffer } from '../queue.ts';
import { needPackedEvent } from './event.ts';
import { packedRingAreas, pvirtqDescFlags, ringEventFlags } from './layout.ts';
import { Position } from './position.ts';

const { NEXT, WRITE, INDIRECT, AVAIL, USED } = pvirtqDescFlags;

const clauses: ErrorClauses = deviceMistakes;

/**
 * The driver's end of a packed virtqueue (2.8). What it must know of a buffer it keeps to itself: nothing that
 * the device could have changed is read back.
 */
export class PackedDriverQueue<T> implements DriverQueue<T> {
  readonly size: number;
  readonly #memory: GuestMemory;
  readonly #areas: QueueAreas;
  readonly #options: DriverRingOptions;
  readonly #indirectFrom: number;
  readonly #tables: DriverTables | undefined;
  #error: PeerError | undefined;
  #sound = true;

  // Views of the three areas, good for `#version` of the memory. The first attach sets them.
  #ring!: OrderedView;
  #driverEvents!: OrderedView;
  #deviceEvents!: OrderedView;
  #version = -1;

  /** Where the next descriptor is written, the first that the device cannot see, and the next used one. */
  readonly #next: Position;
  readonly #published: Position;
  readonly #used: Position;
  #free: number;
  #unpublished = 0;
  /** The flags of the first descriptor that the device cannot see: written last. */
  #heldFlags = -1;

  /** A ring of the buffer ids that are free. They come back in order with VIRTIO_F_IN_ORDER, so go in order. */
  readonly #ids: Uint16Array;
  /** By buffer id: descriptors in the ring (0 when not in flight), device-writable bytes, when submitted. */
  readonly #counts: Uint16Array;
  readonly #writable: Float64Array;
  readonly #sequences: Float64Array;
  readonly #tokens: (T | undefined)[];

  /** Buffers ever submitted, those of them that the device can see, and polled. */
  #submitted = 0;
  #visible = 0;
  #polled = 0;
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
    this.#indirectFrom = indirectThreshold(options);
    this.#tables = options.allocator && new DriverTables(memory, options.allocator, size);
    this.#next = new Position(size);
    this.#published = new Position(size);
    this.#used = new Position(size);
    this.#free = size;
    this.#ids = Uint16Array.from({ length: size }, (_, id) => id);
    this.#counts = new Uint16Array(size);
    this.#writable = new Float64Array(size);
    this.#sequences = new Float64Array(size);
    this.#tokens = Array.from({ length: size }, () => undefined);
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
   * @spec 2.8.17 driver: Basic Facilities of a Virtio Device / Packed Virtqueues / Scatter-Gather Support
   * @spec 2.8.19 driver: Basic Facilities of a Virtio Device / Packed Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors
   */
  submit(readable: readonly BufferElement[], writable: readonly BufferElement[], token: T): boolean {
    const count = readable.length + writable.length;
    const writableBytes = totalLength(writable);
    checkBuffer(count, this.size, totalLength(readable) + writableBytes);
    if (!this.#isReady() || this.#free === 0) return false;
    const id = this.#ids[this.#submitted % this.size]!;
    if (count >= this.#indirectFrom && this.#tables?.open(id, count)) {
      this.#writeTable(this.#tables, readable, writable);
      this.#writeDescriptor(this.#tables.address, 16 * count, id, INDIRECT);
      this.#counts[id] = 1;
    } else {
      if (count > this.#free) return false;
      this.#writeDirect(id, readable, writable);
      this.#counts[id] = count;
    }
    this.#free -= this.#counts[id]!;
    this.#unpublished += this.#counts[id]!;
    this.#writable[id] = writableBytes;
    this.#sequences[id] = this.#submitted++;
    this.#tokens[id] = token;
    return true;
  }

  /**
   * @spec 2.8.21.1.1 driver: Basic Facilities of a Virtio Device / Packed Virtqueues / Supplying Buffers to The Device / Updating flags
   * @spec 2.8.21.3.1 driver: Basic Facilities of a Virtio Device / Packed Virtqueues / Supplying Buffers to The Device / Sending Available Buffer Notifications
   */
  publish(): boolean {
    if (!this.#isReady() || this.#heldFlags < 0) return false;
    this.#ring.storeRelease16(16 * this.#published.offset + 14, this.#heldFlags);
    this.#heldFlags = -1;
    this.#published.set(this.#next);
    this.#visible = this.#submitted;
    const count = this.#unpublished;
    this.#unpublished = 0;
    const suppression = loadAcquire32(this.#deviceEvents, 0);
    return needPackedEvent(suppression, this.#published, count, this.size, this.#options.eventIdx);
  }

  notificationData(): number {
    return this.#published.packed;
  }

  poll(): UsedBuffer<T> | undefined {
    if (!this.#isReady()) return undefined;
    if (this.#polled !== this.#batchEnd) return this.#give(this.#oldestId());
    if (!this.#look()) return undefined;
    const at = 16 * this.#used.offset;
    const id = this.#ring.view.getUint16(at + 12, true);
    const flags = this.#ring.view.getUint16(at + 14, true);
    // Element Length means nothing where the device says that it wrote nothing.
    const lengthCounts = (flags & WRITE) !== 0 || this.#options.usedLengthWithoutWrite === true;
    const written = lengthCounts ? this.#ring.view.getUint32(at + 8, true) : 0;
    if (id >= this.size || this.#counts[id] === 0 || this.#sequences[id]! >= this.#visible) {
      return this.#fail('PACKED_USED_ID_INVALID', `used buffer id ${id} is not in flight`);
    }
    if (written > this.#writable[id]!) {
      return this.#fail(
        'USED_LENGTH_INVALID',
        `${written} bytes written to ${this.#writable[id]} writable ones`,
      );
    }
    this.#batchWritten = written;
    this.#batchEnd = this.#options.inOrder ? this.#sequences[id]! + 1 : this.#polled + 1;
    return this.#give(this.#options.inOrder ? this.#oldestId() : id);
  }

  enableNotifications(): boolean {
    if (!this.#isReady()) return false;
    const { ENABLE, DESC } = ringEventFlags;
    const wanted = this.#options.eventIdx ? (DESC << 16) | this.#used.packed : ENABLE << 16;
    storeRelease32(this.#driverEvents, 0, wanted);
    return this.#polled !== this.#batchEnd || this.#look();
  }

  disableNotifications(): void {
    if (this.#isReady()) storeRelease32(this.#driverEvents, 0, ringEventFlags.DISABLE << 16);
  }

  /** A device that used a buffer before an older one has overwritten descriptors of that one. */
  restart(remembers: boolean): QueuePosition | undefined {
    if (!this.#isReady()) return undefined;
    const wasOvertaken = (id: number): boolean =>
      this.#counts[id] !== 0 && this.#sequences[id]! < this.#polled;
    if (!remembers && [...this.#counts.keys()].some(wasOvertaken)) return undefined;
    const position = this.#used.packed;
    return { available: position, used: position };
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
    const shape = packedRingAreas(size);
    const ring = openArea(this.#memory, descriptor, shape.descriptor.length, 'write', 'little');
    const driverEvents = openArea(this.#memory, driver, shape.driver.length, 'write', 'little');
    const deviceEvents = openArea(this.#memory, device, shape.device.length, 'read', 'little');
    if (ring === undefined || driverEvents === undefined || deviceEvents === undefined) {
      this.#fail('ADDRESS_OUT_OF_BOUNDS', 'an area of the queue is not contiguous in memory');
      return;
    }
    this.#ring = ring;
    this.#driverEvents = driverEvents;
    this.#deviceEvents = deviceEvents;
    this.#version = this.#memory.version;
  }

  /** Memory may hold anything before, and both sides start from zeroes. */
  #clear(): void {
    for (const { view } of [this.#ring, this.#driverEvents, this.#deviceEvents]) {
      new Uint8Array(view.buffer, view.byteOffset, view.byteLength).fill(0);
    }
  }

  /** True when the next used descriptor is there. */
  #look(): boolean {
    const flags = this.#ring.loadAcquire16(16 * this.#used.offset + 14);
    return this.#visible !== this.#polled && (flags & (AVAIL | USED)) === this.#used.usedBits;
  }

  #writeDirect(id: number, readable: readonly BufferElement[], writable: readonly BufferElement[]): void {
    const count = readable.length + writable.length;
    for (let i = 0; i < count; i++) {
      const isReadable = i < readable.length;
      const { address, length } = isReadable ? readable[i]! : writable[i - readable.length]!;
      this.#writeDescriptor(address, length, id, (isReadable ? 0 : WRITE) | (i + 1 < count ? NEXT : 0));
    }
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
      const at = table.base + 16 * i;
      writeElement(table.view, at, address, length, 0);
      table.view.setUint16(at + 14, isReadable ? 0 : WRITE, true);
    }
  }

  /** Writes the next descriptor of the ring; the first that the device cannot see gets its flags last. */
  #writeDescriptor(address: number, length: number, id: number, flags: number): void {
    const next = this.#next;
    const at = 16 * next.offset;
    const allFlags = flags | next.availableBits;
    writeElement(this.#ring.view, at, address, length, id);
    if (this.#heldFlags < 0) this.#heldFlags = allFlags;
    else this.#ring.storeRelease16(at + 14, allFlags);
    next.advance(1);
  }

  /** With VIRTIO_F_IN_ORDER: buffer ids were given in order, and come back so. */
  #oldestId(): number {
    return this.#ids[this.#polled % this.size]!;
  }

  /** Takes a buffer out. Those of a batch before its last count as completely written. */
  #give(id: number): UsedBuffer<T> {
    const result = this.#result;
    const count = this.#counts[id]!;
    this.#ids[this.#polled % this.size] = id;
    this.#polled++;
    // The id is in flight, so that its token is there.
    result.token = this.#tokens[id] as T;
    result.written = this.#polled === this.#batchEnd ? this.#batchWritten : this.#writable[id]!;
    this.#tokens[id] = undefined;
    this.#counts[id] = 0;
    this.#free += count;
    this.#used.advance(count);
    // The token was set just now.
    return result as UsedBuffer<T>;
  }

  #fail(code: PeerErrorCode, message: string): undefined {
    this.#sound = false;
    this.#error = new PeerError(code, message, clauses[code]);
  }
}

function writeElement(view: DataView, at: number, address: number, length: number, id: number): void {
  view.setUint32(at, address, true);
  view.setUint32(at + 4, address / 0x1_0000_0000, true);
  view.setUint32(at + 8, length, true);
  view.setUint16(at + 12, id, true);
}
