import type { QueueAreas } from 'virtio/virtqueue';

/**
 * The least that a device can do with a ring: it reads the descriptors of a chain into plain arrays and writes
 * used entries, over typed arrays, without one check and without a thought for an angry driver. What a queue
 * with every check costs is measured against this, over the same bytes.
 */
export interface Floor {
  /** Elements of the chain that `pop` has read. */
  readonly addresses: number[];
  readonly lengths: number[];
  readonly writable: boolean[];
  /** The id of the next available chain; -1 when there is none. */
  pop(): number;
  push(id: number, written: number): void;
  /** Publishes; true when the driver is to be notified. */
  flush(): boolean;
}

const arrayOf = <T>(value: T): T[] => Array.from({ length: 16 }, () => value);

export class SplitFloor implements Floor {
  readonly addresses: number[] = arrayOf(0);
  readonly lengths: number[] = arrayOf(0);
  readonly writable: boolean[] = arrayOf(false);
  readonly #half: Uint16Array;
  readonly #word: Uint32Array;
  readonly #size: number;
  readonly #eventIdx: boolean;
  /** In halves, in words: where the areas start. */
  readonly #table: number;
  readonly #available: number;
  readonly #used: number;
  #next = 0;
  #nextUsed = 0;
  #flushed = 0;

  constructor(buffer: ArrayBuffer, areas: QueueAreas, eventIdx: boolean) {
    this.#half = new Uint16Array(buffer);
    this.#word = new Uint32Array(buffer);
    this.#size = areas.size;
    this.#eventIdx = eventIdx;
    this.#table = areas.descriptor >>> 2;
    this.#available = areas.driver >>> 1;
    this.#used = areas.device >>> 1;
  }

  pop(): number {
    const half = this.#half;
    const word = this.#word;
    if (this.#next === half[this.#available + 1]) return -1;
    const head = half[this.#available + 2 + (this.#next & (this.#size - 1))]!;
    this.#next = (this.#next + 1) & 0xffff;
    let table = this.#table;
    let index = head;
    let count = 0;
    for (;;) {
      const at = table + 4 * index;
      const address = word[at]! + word[at + 1]! * 0x1_0000_0000;
      const length = word[at + 2]!;
      const flags = half[2 * at + 6]!;
      if ((flags & 4) !== 0) {
        table = address >>> 2;
        index = 0;
        continue;
      }
      this.addresses[count] = address;
      this.lengths[count] = length;
      this.writable[count] = (flags & 2) !== 0;
      count++;
      if ((flags & 1) === 0) return head;
      index = half[2 * at + 7]!;
    }
  }

  push(id: number, written: number): void {
    const slot = (this.#used >>> 1) + 1 + 2 * (this.#nextUsed & (this.#size - 1));
    this.#word[slot] = id;
    this.#word[slot + 1] = written;
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
  }

  flush(): boolean {
    const before = this.#flushed;
    const after = this.#nextUsed;
    this.#half[this.#used + 1] = after;
    this.#flushed = after;
    if (!this.#eventIdx) return this.#half[this.#available] === 0;
    const event = this.#half[this.#available + 2 + this.#size]!;
    return ((after - event - 1) & 0xffff) < ((after - before) & 0xffff);
  }
}

export class PackedFloor implements Floor {
  readonly addresses: number[] = arrayOf(0);
  readonly lengths: number[] = arrayOf(0);
  readonly writable: boolean[] = arrayOf(false);
  readonly #half: Uint16Array;
  readonly #word: Uint32Array;
  readonly #size: number;
  readonly #ring: number;
  readonly #events: number;
  /** Descriptors of each list, by buffer id. */
  readonly #counts: number[];
  #next = 0;
  #available = 0x80;
  #nextUsed = 0;
  #used = 0x8080;

  constructor(buffer: ArrayBuffer, areas: QueueAreas) {
    this.#half = new Uint16Array(buffer);
    this.#word = new Uint32Array(buffer);
    this.#size = areas.size;
    this.#ring = areas.descriptor >>> 2;
    this.#events = areas.driver >>> 1;
    this.#counts = Array.from({ length: areas.size }, () => 0);
  }

  pop(): number {
    const half = this.#half;
    const word = this.#word;
    let at = this.#ring + 4 * this.#next;
    let flags = half[2 * at + 7]!;
    if ((flags & 0x8080) !== this.#available) return -1;
    let entries = 0;
    for (;;) {
      const address = word[at]! + word[at + 1]! * 0x1_0000_0000;
      const length = word[at + 2]!;
      if ((flags & 4) !== 0) this.#readTable(address, length);
      else {
        this.addresses[entries] = address;
        this.lengths[entries] = length;
        this.writable[entries] = (flags & 2) !== 0;
      }
      entries++;
      const id = half[2 * at + 6]!;
      if (++this.#next === this.#size) {
        this.#next = 0;
        this.#available ^= 0x8080;
      }
      if ((flags & 1) === 0) {
        this.#counts[id] = entries;
        return id;
      }
      at = this.#ring + 4 * this.#next;
      flags = half[2 * at + 7]!;
    }
  }

  push(id: number, written: number): void {
    const at = this.#ring + 4 * this.#nextUsed;
    this.#word[at + 2] = written;
    this.#half[2 * at + 6] = id;
    this.#half[2 * at + 7] = this.#used | (written > 0 ? 2 : 0);
    this.#nextUsed += this.#counts[id]!;
    if (this.#nextUsed >= this.#size) {
      this.#nextUsed -= this.#size;
      this.#used ^= 0x8080;
    }
  }

  flush(): boolean {
    return this.#half[this.#events + 1] === 0;
  }

  #readTable(address: number, length: number): void {
    const word = this.#word;
    for (let i = 0; i < length >>> 4; i++) {
      const at = (address >>> 2) + 4 * i;
      this.addresses[i] = word[at]! + word[at + 1]! * 0x1_0000_0000;
      this.lengths[i] = word[at + 2]!;
      this.writable[i] = (this.#half[2 * at + 7]! & 2) !== 0;
    }
  }
}
