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

export const AVAIL = 0x80;
export const USED = 0x8000;

/** Values of the event suppression flags (2.8.10). */
const events = { ENABLE: 0, DISABLE: 1, DESC: 2 } as const;

/** A buffer that the device has: descriptors in the ring, and its device-writable bytes. */
interface Outstanding {
  readonly id: number;
  readonly count: number;
  readonly writable: number;
}

/** A packed ring (2.8) under a hand that may do anything to it. */
export class RawPackedRing implements RawRing {
  readonly areas: QueueAreas;
  readonly bytes: RawBytes;
  readonly #options: RawRingOptions;
  readonly #outstanding: Outstanding[] = [];
  readonly #ready: RawUsed[] = [];
  #offset = 0;
  #wrap = 1;
  #usedOffset = 0;
  #usedWrap = 1;
  #nextId = 0;
  #wish: Wish = 'always';

  constructor(memory: GuestMemory, areas: QueueAreas, options: RawRingOptions) {
    this.areas = areas;
    this.bytes = new RawBytes(memory);
    this.#options = options;
  }

  get size(): number {
    return this.areas.size;
  }

  /** Where the next descriptor goes, and the flags that make it available there. */
  get offset(): number {
    return this.#offset;
  }

  get availableBits(): number {
    return this.#wrap === 1 ? AVAIL : USED;
  }

  /** Writes the descriptor at an offset, or of an indirect table that starts at `table`; its flags last. */
  describe(index: number, descriptor: RawDescriptor, table: number = this.areas.descriptor): void {
    const at = table + 16 * index;
    this.bytes.set64(at, descriptor.address ?? 0);
    this.bytes.set32(at + 8, descriptor.length ?? 0);
    this.bytes.set16(at + 12, descriptor.id ?? 0);
    this.bytes.set16(at + 14, descriptor.flags ?? 0);
  }

  /** Makes one descriptor available with these flags beside AVAIL and USED, and moves on. */
  push(descriptor: RawDescriptor, bits: number = this.availableBits): void {
    this.describe(this.#offset, { ...descriptor, flags: (descriptor.flags ?? 0) | bits });
    this.#offset++;
    if (this.#offset === this.size) {
      this.#offset = 0;
      this.#wrap ^= 1;
    }
  }

  offer(elements: readonly RawElement[]): number {
    const id = this.#begin(elements, elements.length);
    // The first becomes available last (2.8.17): a device that was kicked for nothing may be looking.
    const first = { offset: this.#offset, bits: this.availableBits };
    for (const [i, element] of elements.entries()) {
      const bits = i === 0 ? first.bits ^ (AVAIL | USED) : this.availableBits;
      this.push({ ...describe(element), id, flags: flagsOf(element, i + 1 < elements.length) }, bits);
    }
    const [head] = elements;
    if (head !== undefined) {
      const flags = flagsOf(head, elements.length > 1) | first.bits;
      this.bytes.set16(this.areas.descriptor + 16 * first.offset + 14, flags);
    }
    return id;
  }

  offerIndirect(table: number, elements: readonly RawElement[], tableFlags = 0): number {
    for (const [i, element] of elements.entries()) {
      this.describe(i, { ...describe(element), flags: element.writable ? WRITE : 0 }, table);
    }
    const id = this.#begin(elements, 1);
    this.push({ address: table, length: 16 * elements.length, id, flags: INDIRECT | tableFlags });
    return id;
  }

  used(): RawUsed | undefined {
    if (this.#ready.length === 0) this.#readUsed();
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
    return this.#offset | (this.#wrap << 15);
  }

  #begin(elements: readonly RawElement[], count: number): number {
    const id = this.#nextId;
    this.#nextId = (this.#nextId + 1) % this.size;
    const writable = elements.reduce((sum, element) => sum + (element.writable ? element.length : 0), 0);
    this.#outstanding.push({ id, count, writable });
    return id;
  }

  /** With VIRTIO_F_IN_ORDER one used descriptor may stand for all that were offered up to its buffer. */
  #readUsed(): void {
    const at = this.areas.descriptor + 16 * this.#usedOffset;
    const flags = this.bytes.get16(at + 14) & (AVAIL | USED);
    if (flags !== (this.#usedWrap === 1 ? AVAIL | USED : 0)) return;
    // A descriptor never offered has both bits clear, as a used one of the second lap has.
    if (this.#outstanding.length === 0) return;
    const last = { id: this.bytes.get16(at + 12), written: this.bytes.get32(at + 8) };
    const place = this.#outstanding.findIndex(({ id }) => id === last.id);
    const covered = this.#options.inOrder && place > 0 ? this.#outstanding.splice(0, place) : [];
    for (const { id, writable } of covered) this.#ready.push({ id, written: writable });
    const own = this.#outstanding.findIndex(({ id }) => id === last.id);
    const [buffer] = own === -1 ? [] : this.#outstanding.splice(own, 1);
    this.#ready.push(last);
    for (const { count } of [...covered, ...(buffer === undefined ? [] : [buffer])]) this.#passUsed(count);
    this.#writeWish();
  }

  #passUsed(count: number): void {
    this.#usedOffset += count;
    if (this.#usedOffset < this.size) return;
    this.#usedOffset -= this.size;
    this.#usedWrap ^= 1;
  }

  #writeWish(): void {
    const always = this.#wish === 'always';
    const flags = always ? (this.#options.eventIdx ? events.DESC : events.ENABLE) : events.DISABLE;
    this.bytes.set16(this.areas.driver, this.#usedOffset | (this.#usedWrap << 15));
    this.bytes.set16(this.areas.driver + 2, flags);
  }
}

const describe = ({ address, length }: RawElement): RawDescriptor => ({ address, length });

const flagsOf = (element: RawElement, hasNext: boolean): number =>
  (element.writable ? WRITE : 0) | (hasNext ? NEXT : 0);
