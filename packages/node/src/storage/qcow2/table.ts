/** Bytes of a table that have to be written, as they were when they were taken. */
export interface Change {
  readonly table: Table;
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly fresh: boolean;
}

/** Bytes that are written at least: what lies beneath knows no less. */
const grain = 512;

/** A table of an image's metadata in memory. It keeps in mind what of it is not in the file yet. */
export class Table {
  /** Where it lies in the file. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** Nothing that is stable in the file refers to it yet, so it may be written before anything else. */
  fresh: boolean;
  /** Changes of it are under way to the file: it is not to be read from there. */
  pinned = 0;
  readonly #view: DataView;
  readonly #changed: Set<Table>;
  #abandoned = false;
  #from = 0;
  #to = 0;

  /** `changed` is where it puts itself when it changes. */
  constructor(offset: number, bytes: Uint8Array, changed: Set<Table>, fresh = false) {
    this.offset = offset;
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#changed = changed;
    this.fresh = fresh;
    if (fresh) this.touch(0, bytes.length);
  }

  get isChanged(): boolean {
    return this.#to > 0;
  }

  /** The upper half of an entry of 64 bits, big-endian. */
  high(index: number): number {
    return this.#view.getUint32(index * 8);
  }

  /** The lower half. */
  low(index: number): number {
    return this.#view.getUint32(index * 8 + 4);
  }

  setEntry(index: number, high: number, low: number): void {
    this.#view.setUint32(index * 8, high);
    this.#view.setUint32(index * 8 + 4, low);
    this.touch(index * 8, index * 8 + 8);
  }

  /** Says that the bytes of a range are new. */
  touch(from: number, to: number): void {
    if (this.#to === 0) {
      this.#changed.add(this);
      this.#from = from;
      this.#to = to;
      return;
    }
    if (from < this.#from) this.#from = from;
    if (to > this.#to) this.#to = to;
  }

  /** A copy of what has changed; it counts as written from here on, unless it is put back. */
  take(): Change {
    const from = Math.floor(this.#from / grain) * grain;
    const to = Math.min(Math.ceil(this.#to / grain) * grain, this.bytes.length);
    const { fresh } = this;
    this.fresh = false;
    this.#from = 0;
    this.#to = 0;
    this.#changed.delete(this);
    this.pinned++;
    return { table: this, offset: this.offset + from, bytes: this.bytes.slice(from, to), fresh };
  }

  /** Its place belongs to something else from now on: it is not written any more. */
  abandon(): void {
    this.#changed.delete(this);
    this.#abandoned = true;
  }

  /** What was taken is not in the file after all. */
  putBack({ offset, bytes, fresh }: Change): void {
    if (this.#abandoned) return;
    if (fresh) this.fresh = true;
    this.touch(offset - this.offset, offset - this.offset + bytes.length);
  }
}

/** Bit 63 of an entry: what it refers to is referred to by nothing else. */
export const copied = 0x8000_0000;

/** Bits 9 to 55 of an entry: a place in the file. */
export function offsetOf(high: number, low: number): number {
  return (high & 0x00ff_ffff) * 2 ** 32 + ((low & 0xffff_fe00) >>> 0);
}

export const highOf = (offset: number): number => Math.floor(offset / 2 ** 32);
export const lowOf = (offset: number): number => offset % 2 ** 32;
