import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { Endian } from '../../spec/guest-endian.ts';

/** Fields of guest memory, one at a time, little-endian or in a legacy guest's order: for rings that are written by hand. */
export class RawBytes {
  readonly memory: GuestMemory;
  readonly #little: boolean;
  #offset = 0;

  constructor(memory: GuestMemory, endian: Endian = 'little') {
    this.memory = memory;
    this.#little = endian === 'little';
  }

  get16(address: number): number {
    return this.#view(address, 2).getUint16(this.#offset, this.#little);
  }

  get32(address: number): number {
    return this.#view(address, 4).getUint32(this.#offset, this.#little);
  }

  get64(address: number): number {
    return Number(this.#view(address, 8).getBigUint64(this.#offset, this.#little));
  }

  set16(address: number, value: number): void {
    this.#set(address, 2, (view, offset) => view.setUint16(offset, value, this.#little));
  }

  set32(address: number, value: number): void {
    this.#set(address, 4, (view, offset) => view.setUint32(offset, value, this.#little));
  }

  /** A `bigint` reaches every address there is, also those that no memory has. */
  set64(address: number, value: number | bigint): void {
    this.#set(address, 8, (view, offset) => view.setBigUint64(offset, BigInt(value), this.#little));
  }

  /** True while these are the bytes there. */
  holds(address: number, bytes: Uint8Array): boolean {
    const view = this.#view(address, bytes.length);
    const offset = this.#offset;
    for (let at = 0; at < bytes.length; at++) if (view.getUint8(offset + at) !== bytes[at]) return false;
    return true;
  }

  /** The bytes where they lie, `#offset` into the view; a copy where they are in more than one region. */
  #view(address: number, length: number): DataView {
    const region = this.memory.find(address, length);
    this.#offset = region === undefined ? 0 : address - region.start;
    return region?.view ?? new DataView(this.memory.read(address, length).buffer);
  }

  #set(address: number, length: number, write: (view: DataView, offset: number) => void): void {
    const region = this.memory.find(address, length);
    if (region !== undefined) {
      write(region.view, address - region.start);
      return;
    }
    const bytes = new Uint8Array(length);
    write(new DataView(bytes.buffer), 0);
    this.memory.write(address, bytes);
  }
}
