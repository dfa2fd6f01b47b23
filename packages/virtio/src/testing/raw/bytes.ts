import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { Endian } from '../../spec/guest-endian.ts';

/** Fields of guest memory, one at a time, little-endian or in a legacy guest's order: for rings that are written by hand. */
export class RawBytes {
  readonly memory: GuestMemory;
  readonly #little: boolean;

  constructor(memory: GuestMemory, endian: Endian = 'little') {
    this.memory = memory;
    this.#little = endian === 'little';
  }

  get16(address: number): number {
    return this.#view(address, 2).getUint16(0, this.#little);
  }

  get32(address: number): number {
    return this.#view(address, 4).getUint32(0, this.#little);
  }

  get64(address: number): number {
    return Number(this.#view(address, 8).getBigUint64(0, this.#little));
  }

  set16(address: number, value: number): void {
    this.#set(address, 2, (view) => view.setUint16(0, value, this.#little));
  }

  set32(address: number, value: number): void {
    this.#set(address, 4, (view) => view.setUint32(0, value, this.#little));
  }

  /** A `bigint` reaches every address there is, also those that no memory has. */
  set64(address: number, value: number | bigint): void {
    this.#set(address, 8, (view) => view.setBigUint64(0, BigInt(value), this.#little));
  }

  #view(address: number, length: number): DataView {
    return new DataView(this.memory.read(address, length).buffer);
  }

  #set(address: number, length: number, write: (view: DataView) => void): void {
    const bytes = new Uint8Array(length);
    write(new DataView(bytes.buffer));
    this.memory.write(address, bytes);
  }
}
