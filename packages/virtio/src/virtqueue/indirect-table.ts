import type { GuestMemory } from '../memory/guest-memory.ts';

/** The indirect table that a queue reads just now: where it lies, or a copy of it. */
export class IndirectTable {
  /** The table's descriptors start at byte `base` of it. */
  view: DataView = new DataView(new ArrayBuffer(0));
  base = 0;
  entries = 0;
  /** The same bytes in the host's byte order: the table starts at word `base / 4`. */
  words: Uint32Array = new Uint32Array(0);
  readonly #memory: GuestMemory;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** False when the table, of `length` bytes, is not all memory. */
  open(address: number, length: number): boolean {
    this.entries = length >>> 4;
    const region = this.#memory.find(address, length);
    if (region === undefined) return this.#copy(address, length);
    const offset = address - region.start;
    if (offset % 4 !== 0 || region.words.length === 0) return this.#copy(address, length);
    this.view = region.view;
    this.words = region.words;
    this.base = offset;
    return true;
  }

  /** At the seam of two regions, behind a translation, or not aligned. */
  #copy(address: number, length: number): boolean {
    const copy = new Uint8Array(length);
    let done = 0;
    const whole = this.#memory.pieces(address, length, 'read', (region, offset, taken) => {
      copy.set(region.bytes.subarray(offset, offset + taken), done);
      done += taken;
    });
    this.view = new DataView(copy.buffer);
    this.words = new Uint32Array(copy.buffer);
    this.base = 0;
    return whole;
  }
}
