import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { ClauseId } from '../../spec/clauses.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import { RawBytes } from '../raw/bytes.ts';
import { AVAIL, USED } from '../raw/packed-ring.ts';
import { INDIRECT, NEXT, WRITE } from '../raw/ring.ts';
import type { RingFinding, RingWatch, WatchedBuffer, WatchedDescriptor, WatchOptions } from './finding.ts';
import { isLeftAlone } from './split-watch.ts';

const basics = 'driver: Basic Facilities of a Virtio Device';
const scatter = `${basics} / Packed Virtqueues / Scatter-Gather Support` as const;
const indirectTable =
  `${basics} / Packed Virtqueues / The Virtqueue Descriptor Table / Indirect Descriptors` as const;
/** The specification's own label is spelled so. */
const descriptorTable = `${basics} / PAcked Virtqueues / The Virtqueue Descriptor Table` as const;

/** Holds a driver's packed ring to the rules of 2.8, by reading it. */
export class PackedWatch implements RingWatch {
  readonly findings: RingFinding[] = [];
  seen = 0;
  readonly #bytes: RawBytes;
  readonly #areas: QueueAreas;
  readonly #options: WatchOptions;
  /** Buffers that the device has, in ring order, and where the next used descriptor will stand. */
  readonly #exposed: WatchedBuffer[] = [];
  #offset = 0;
  #wrap = 1;
  #usedOffset = 0;
  #usedWrap = 1;

  constructor(memory: GuestMemory, areas: QueueAreas, options: WatchOptions) {
    this.#bytes = new RawBytes(memory);
    this.#areas = areas;
    this.#options = options;
    this.#require(
      areas.descriptor % 16 === 0 && areas.driver % 4 === 0 && areas.device % 4 === 0,
      `${basics} / Packed Virtqueues`,
      'the parts of the queue are aligned to 16, 4 and 4',
    );
  }

  expectedData(): number {
    return this.#offset | (this.#wrap << 15);
  }

  look(): void {
    this.#takeUsed();
    this.#checkExposed();
    while (this.#bitsAt(this.#offset) === this.#available(this.#wrap) && this.#room() > 0) {
      if (!this.#expose()) return;
    }
  }

  #room(): number {
    return this.#areas.size - this.#exposed.reduce((sum, { count }) => sum + count, 0);
  }

  /** Takes the list that starts at the next offset; false when it has no end. */
  #expose(): boolean {
    const list: WatchedDescriptor[] = [];
    const inTable: WatchedDescriptor[] = [];
    let [offset, wrap] = [this.#offset, this.#wrap];
    for (;;) {
      this.#require(list.length < this.#room(), scatter, 'a list is longer than the room in the ring');
      if (list.length >= this.#room()) return false;
      this.#require(this.#bitsAt(offset) === this.#available(wrap), scatter, 'a list is available in part');
      const descriptor = this.#read(this.#areas.descriptor, offset);
      list.push(descriptor);
      offset++;
      if (offset === this.#areas.size) [offset, wrap] = [0, wrap ^ 1];
      if ((descriptor.flags & INDIRECT) !== 0) {
        this.#require(this.#options.indirect, indirectTable, 'INDIRECT was not negotiated');
        const hasNext = (descriptor.flags & NEXT) !== 0 || list.length > 1;
        this.#require(!hasNext, indirectTable, 'an indirect descriptor in a list');
        const count = descriptor.length / 16;
        this.#require(
          Number.isInteger(count) && count <= this.#areas.size,
          indirectTable,
          `a table of ${count}`,
        );
        for (let i = 0; i < count; i++) inTable.push(this.#read(descriptor.address, i));
        const foreign = inTable.find(({ flags }) => (flags & ~WRITE) !== 0);
        this.#require(foreign === undefined, indirectTable, `flags ${foreign?.flags} in a table`);
      }
      if ((descriptor.flags & NEXT) === 0) break;
    }
    const elements = inTable.length > 0 ? inTable : list;
    const firstWritable = elements.findIndex(({ flags }) => (flags & WRITE) !== 0);
    const ordered = firstWritable === -1 || elements.slice(firstWritable).every(({ flags }) => flags & WRITE);
    this.#require(ordered, scatter, 'a device-readable element stands behind a device-writable one');
    const id = list.at(-1)?.last ?? -1;
    const isFree = this.#exposed.every((buffer) => buffer.id !== id);
    this.#require(isFree, scatter, `Buffer ID ${id} is offered twice`);
    this.#exposed.push({ id, count: list.length, descriptors: [...list, ...inTable] });
    [this.#offset, this.#wrap] = [offset, wrap];
    this.seen++;
    return true;
  }

  #takeUsed(): void {
    while (this.#exposed.length > 0 && this.#bitsAt(this.#usedOffset) === this.#used(this.#usedWrap)) {
      const id = this.#bytes.get16(this.#areas.descriptor + 16 * this.#usedOffset + 12);
      const place = this.#exposed.findIndex((buffer) => buffer.id === id);
      if (place === -1) return;
      const gone = this.#options.inOrder
        ? this.#exposed.splice(0, place + 1)
        : this.#exposed.splice(place, 1);
      for (const { count } of gone) {
        this.#usedOffset += count;
        if (this.#usedOffset >= this.#areas.size) {
          this.#usedOffset -= this.#areas.size;
          this.#usedWrap ^= 1;
        }
      }
    }
  }

  /** The device writes used descriptors over others, so only tables and flags of one lap tell a change. */
  #checkExposed(): void {
    const overwritten = this.#exposed.some(({ descriptors }) =>
      descriptors.some(({ at }) => this.#isUsedAt(at)),
    );
    if (overwritten) return;
    for (const buffer of this.#exposed) {
      if (isLeftAlone(this.#bytes, buffer)) continue;
      const message = `the descriptors of buffer ${buffer.id} changed while the device had it`;
      this.findings.push({ clause: descriptorTable, message });
    }
  }

  #isUsedAt(at: number): boolean {
    const bits = this.#bytes.get16(at + 14) & (AVAIL | USED);
    return bits === 0 || bits === (AVAIL | USED);
  }

  #read(base: number, index: number): WatchedDescriptor {
    const at = base + 16 * index;
    const [address, length] = [this.#bytes.get64(at), this.#bytes.get32(at + 8)];
    const flags = this.#bytes.get16(at + 14) & ~(AVAIL | USED);
    const bytes = this.#bytes.memory.read(at, 16);
    return { at, index, address, length, flags, last: this.#bytes.get16(at + 12), bytes };
  }

  #bitsAt(offset: number): number {
    return this.#bytes.get16(this.#areas.descriptor + 16 * offset + 14) & (AVAIL | USED);
  }

  #available(wrap: number): number {
    return wrap === 1 ? AVAIL : USED;
  }

  #used(wrap: number): number {
    return wrap === 1 ? AVAIL | USED : 0;
  }

  #require(holds: boolean, clause: ClauseId, message: string): void {
    if (!holds) this.findings.push({ clause, message });
  }
}
