import type { GuestMemory } from '../memory/guest-memory.ts';

/** The indirect table that a queue reads just now: where it lies, or a copy of one that lies in pieces. */
export class IndirectTable {
  /** The table's descriptors start at `base` in it. */
  view: DataView = new DataView(new ArrayBuffer(0));
  base = 0;
  readonly #memory: GuestMemory;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** False when the table, of `length` bytes, is not all memory. */
  open(address: number, length: number): boolean {
    const region = this.#memory.find(address, length);
    if (region === undefined) return this.#copy(address, length);
    this.view = region.view;
    this.base = address - region.start;
    return true;
  }

  /** At the seam of two regions, or behind a translation. */
  #copy(address: number, length: number): boolean {
    const copy = new Uint8Array(length);
    let done = 0;
    const whole = this.#memory.pieces(address, length, 'read', (region, offset, taken) => {
      copy.set(region.bytes.subarray(offset, offset + taken), done);
      done += taken;
    });
    this.view = new DataView(copy.buffer);
    this.base = 0;
    return whole;
  }
}
