import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import { RawBytes } from './bytes.ts';
import {
  INDIRECT,
  NEXT,
  type RawDescriptor,
  type RawElement,
  type RawRing,
  type RawRingOptions,
  type RawUsed,
  type Wish,
  WRITE,
} from './ring.ts';

/** A buffer that the device has: its head and its device-writable bytes. */
interface Outstanding {
  readonly id: number;
  readonly writable: number;
}

/** A split ring (2.7) under a hand that may do anything to it. */
export class RawSplitRing implements RawRing {
  readonly areas: QueueAreas;
  readonly bytes: RawBytes;
  readonly #options: RawRingOptions;
  readonly #outstanding: Outstanding[] = [];
  readonly #ready: RawUsed[] = [];
  #nextDescriptor = 0;
  #available = 0;
  #used = 0;
  #wish: Wish = 'always';

  constructor(memory: GuestMemory, areas: QueueAreas, options: RawRingOptions) {
    this.areas = areas;
    this.bytes = new RawBytes(memory, options.endian);
    this.#options = options;
  }

  get size(): number {
    return this.areas.size;
  }

  /** Writes one entry of the descriptor table, or of an indirect table that starts at `table`. */
  describe(index: number, descriptor: RawDescriptor, table: number = this.areas.descriptor): void {
    const at = table + 16 * index;
    this.bytes.set64(at, descriptor.address ?? 0);
    this.bytes.set32(at + 8, descriptor.length ?? 0);
    this.bytes.set16(at + 12, descriptor.flags ?? 0);
    this.bytes.set16(at + 14, descriptor.next ?? 0);
  }

  /** Puts a head into the available ring and moves the index on. */
  publish(head: number): void {
    this.bytes.set16(this.areas.driver + 4 + 2 * (this.#available % this.size), head);
    this.setAvailableIndex(this.#available + 1);
  }

  setAvailableIndex(index: number): void {
    this.#available = index & 0xffff;
    this.bytes.set16(this.areas.driver + 2, this.#available);
  }

  get availableIndex(): number {
    return this.#available;
  }

  /** `idx` of the used ring. */
  get usedIndex(): number {
    return this.bytes.get16(this.areas.device + 2);
  }

  /** `flags` of the used ring. */
  get usedFlags(): number {
    return this.bytes.get16(this.areas.device);
  }

  offer(elements: readonly RawElement[]): number {
    const head = this.#nextDescriptor;
    for (const [i, { address, length, writable }] of elements.entries()) {
      const index = this.#nextDescriptor;
      const next = (index + 1) % this.size;
      const flags = (writable ? WRITE : 0) | (i + 1 < elements.length ? NEXT : 0);
      this.describe(index, { address, length, flags, next });
      this.#nextDescriptor = next;
    }
    return this.#make(head, elements);
  }

  offerIndirect(table: number, elements: readonly RawElement[], tableFlags = 0): number {
    for (const [i, { address, length, writable }] of elements.entries()) {
      const flags = (writable ? WRITE : 0) | (i + 1 < elements.length ? NEXT : 0);
      this.describe(i, { address, length, flags, next: i + 1 }, table);
    }
    const head = this.#nextDescriptor;
    this.describe(head, { address: table, length: 16 * elements.length, flags: INDIRECT | tableFlags });
    this.#nextDescriptor = (head + 1) % this.size;
    return this.#make(head, elements);
  }

  /** Direct elements first, the rest in a table that the last direct descriptor links to. */
  offerMixed(direct: readonly RawElement[], table: number, rest: readonly RawElement[]): number {
    const head = this.#nextDescriptor;
    for (const { address, length, writable } of direct) {
      const index = this.#nextDescriptor;
      this.#nextDescriptor = (index + 1) % this.size;
      this.describe(index, {
        address,
        length,
        flags: NEXT | (writable ? WRITE : 0),
        next: this.#nextDescriptor,
      });
    }
    for (const [i, { address, length, writable }] of rest.entries()) {
      const flags = (writable ? WRITE : 0) | (i + 1 < rest.length ? NEXT : 0);
      this.describe(i, { address, length, flags, next: i + 1 }, table);
    }
    this.describe(this.#nextDescriptor, { address: table, length: 16 * rest.length, flags: INDIRECT });
    this.#nextDescriptor = (this.#nextDescriptor + 1) % this.size;
    return this.#make(head, [...direct, ...rest]);
  }

  used(): RawUsed | undefined {
    if (this.#ready.length === 0 && this.usedIndex !== this.#used) this.#readUsed();
    return this.#ready.shift();
  }

  descriptors(): Uint8Array {
    return this.bytes.memory.read(this.areas.descriptor, 16 * this.size);
  }

  wish(wish: Wish): void {
    this.#wish = wish;
    this.#writeWish();
  }

  notificationData(): number {
    return this.#available;
  }

  #make(id: number, elements: readonly RawElement[]): number {
    const writable = elements.reduce((sum, element) => sum + (element.writable ? element.length : 0), 0);
    this.#outstanding.push({ id, writable });
    this.publish(id);
    return id;
  }

  /** With VIRTIO_F_IN_ORDER one used entry may stand for all that were offered up to its buffer. */
  #readUsed(): void {
    const at = this.areas.device + 4 + 8 * (this.#used % this.size);
    const last = { id: this.bytes.get32(at), written: this.bytes.get32(at + 4) };
    const place = this.#outstanding.findIndex(({ id }) => id === last.id);
    const covered = this.#options.inOrder && place > 0 ? this.#outstanding.splice(0, place) : [];
    for (const { id, writable } of covered) this.#ready.push({ id, written: writable });
    const own = this.#outstanding.findIndex(({ id }) => id === last.id);
    if (own !== -1) this.#outstanding.splice(own, 1);
    this.#ready.push(last);
    this.#used = (this.#used + 1 + covered.length) & 0xffff;
    this.#writeWish();
  }

  #writeWish(): void {
    const always = this.#wish === 'always';
    if (this.#options.eventIdx) {
      // The entry at `used_event` is the one whose use is notified: the next, or the one before it.
      this.bytes.set16(this.areas.driver + 4 + 2 * this.size, always ? this.#used : this.#used - 1);
    } else {
      this.bytes.set16(this.areas.driver, always ? 0 : 1);
    }
  }
}
