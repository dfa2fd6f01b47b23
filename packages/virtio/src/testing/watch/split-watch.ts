import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { ClauseId } from '../../spec/clauses.ts';
import type { QueueAreas } from '../../virtqueue/queue.ts';
import { RawBytes } from '../raw/bytes.ts';
import { INDIRECT, NEXT, WRITE } from '../raw/ring.ts';
import type { RingFinding, RingWatch, WatchedBuffer, WatchedDescriptor, WatchOptions } from './finding.ts';

const basics = 'driver: Basic Facilities of a Virtio Device';
const table = `${basics} / Virtqueues / The Virtqueue Descriptor Table` as const;
const indirectTable = `${table} / Indirect Descriptors` as const;

/** Holds a driver's split ring to the rules of 2.7, by reading it. */
export class SplitWatch implements RingWatch {
  readonly findings: RingFinding[] = [];
  seen = 0;
  readonly #bytes: RawBytes;
  readonly #areas: QueueAreas;
  readonly #options: WatchOptions;
  readonly #exposed: WatchedBuffer[] = [];
  #available = 0;
  #used = 0;

  constructor(memory: GuestMemory, areas: QueueAreas, options: WatchOptions) {
    this.#bytes = new RawBytes(memory, options.endian);
    this.#areas = areas;
    this.#options = options;
    this.#require(
      areas.descriptor % 16 === 0 && areas.driver % 2 === 0 && areas.device % 4 === 0,
      `${basics} / Virtqueues`,
      'the parts of the queue are aligned to 16, 2 and 4',
    );
    const availability = `${basics} / Virtqueues / Available Buffer Notification Suppression` as const;
    this.#require(this.#bytes.get16(areas.device) === 0, availability, 'flags of the used ring start at 0');
  }

  expectedData(): number {
    return this.#bytes.get16(this.#areas.driver + 2);
  }

  look(): void {
    this.#takeUsed();
    this.#checkExposed();
    const { driver, size } = this.#areas;
    const flags = this.#bytes.get16(driver);
    this.#require(
      this.#options.eventIdx ? flags === 0 : flags <= 1,
      `${basics} / Virtqueues / Used Buffer Notification Suppression`,
      `flags of the available ring are ${flags}`,
    );
    const index = this.#bytes.get16(driver + 2);
    const ahead = (index - this.#available) & 0xffff;
    const available = `${basics} / Virtqueues / The Virtqueue Available Ring` as const;
    this.#require(ahead <= size, available, `the available index went from ${this.#available} to ${index}`);
    if (ahead > size) return;
    for (; this.#available !== index; this.#available = (this.#available + 1) & 0xffff) {
      this.#expose(this.#bytes.get16(driver + 4 + 2 * (this.#available % size)));
    }
  }

  #expose(head: number): void {
    const descriptors = this.#walk(head);
    for (const { at, index } of descriptors) {
      const isExposed = this.#exposed.some((buffer) => buffer.descriptors.some((other) => other.at === at));
      this.#require(!isExposed, cleanup, `descriptor ${index} is offered twice`);
    }
    this.#exposed.push({ id: head, count: 1, descriptors });
    this.seen++;
  }

  /** Every descriptor of a chain, the one that refers to a table among them. */
  #walk(head: number): WatchedDescriptor[] {
    const { inOrder, indirect } = this.#options;
    const found: WatchedDescriptor[] = [];
    let base = this.#areas.descriptor;
    let entries = this.#areas.size;
    let index = head;
    let elements = 0;
    let total = 0;
    let writable = false;
    for (let steps = 0; steps <= 2 * this.#areas.size; steps++) {
      this.#require(index < entries, table, `descriptor ${index} of ${entries}`);
      if (index >= entries) break;
      const descriptor = this.#read(base, index);
      found.push(descriptor);
      const { flags, length, last: next } = descriptor;
      const inTable = base !== this.#areas.descriptor;
      if ((flags & INDIRECT) !== 0) {
        this.#require(indirect, indirectTable, 'INDIRECT was not negotiated');
        this.#require(!inTable, indirectTable, 'a table within a table');
        this.#require((flags & NEXT) === 0, indirectTable, 'INDIRECT and NEXT are both set');
        const whole = length > 0 && length % 16 === 0;
        this.#require(whole, indirectTable, `an indirect table of ${length} bytes`);
        if (inTable || !whole) break;
        base = descriptor.address;
        entries = length / 16;
        index = 0;
        continue;
      }
      elements++;
      total += length;
      const isWritable = (flags & WRITE) !== 0;
      this.#require(isWritable || !writable, `${basics} / Message Framing`, 'readable behind writable');
      writable ||= isWritable;
      if ((flags & NEXT) === 0) break;
      const following = inTable ? index + 1 : (index + 1) % this.#areas.size;
      const order = inTable ? indirectTable : table;
      this.#require(!inOrder || next === following, order, `${index} is followed by ${next}, out of order`);
      index = next;
    }
    this.#require(elements <= this.#areas.size, indirectTable, `a chain of ${elements} descriptors`);
    this.#require(total <= 2 ** 32, table, `a chain of ${total} bytes`);
    return found;
  }

  #read(base: number, index: number): WatchedDescriptor {
    const at = base + 16 * index;
    const [address, length] = [this.#bytes.get64(at), this.#bytes.get32(at + 8)];
    return {
      at,
      index,
      address,
      length,
      flags: this.#bytes.get16(at + 12),
      last: this.#bytes.get16(at + 14),
      bytes: this.#bytes.memory.read(at, 16),
    };
  }

  #takeUsed(): void {
    const index = this.#bytes.get16(this.#areas.device + 2);
    while (this.#used !== index && this.#exposed.length > 0) {
      const id = this.#bytes.get32(this.#areas.device + 4 + 8 * (this.#used % this.#areas.size));
      const place = this.#exposed.findIndex((buffer) => buffer.id === id);
      if (place === -1) return;
      const count = this.#options.inOrder ? place + 1 : 1;
      this.#exposed.splice(this.#options.inOrder ? 0 : place, count);
      this.#used = (this.#used + count) & 0xffff;
    }
  }

  #checkExposed(): void {
    for (const buffer of this.#exposed) {
      if (isLeftAlone(this.#bytes, buffer)) continue;
      const message = `the descriptors of buffer ${buffer.id} changed while the device had it`;
      this.findings.push({ clause: cleanup, message });
    }
  }

  #require(holds: boolean, clause: ClauseId, message: string): void {
    if (!holds) this.findings.push({ clause, message });
  }
}

/** The rule that exposed buffers are left alone. */
const cleanup: ClauseId = 'driver: General Initialization And Device Operation / Device Cleanup';

/** True while a buffer's descriptors are what they were. */
export const isLeftAlone = (memory: RawBytes, { descriptors }: WatchedBuffer): boolean =>
  descriptors.every(({ at, bytes }) => memory.holds(at, bytes));
