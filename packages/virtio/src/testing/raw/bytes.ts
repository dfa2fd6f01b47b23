import type { GuestMemory } from '../../memory/guest-memory.ts';

/** Little-endian fields of guest memory, one at a time: for rings that are written by hand. */
export class RawBytes {
  readonly memory: GuestMemory;

  constructor(memory: GuestMemory) {
    this.memory = memory;
  }

  get16(address: number): number {
    const [low = 0, high = 0] = this.memory.read(address, 2);
    return low + high * 0x100;
  }

  get32(address: number): number {
    return this.get16(address) + this.get16(address + 2) * 0x1_0000;
  }

  get64(address: number): number {
    return this.get32(address) + this.get32(address + 4) * 0x1_0000_0000;
  }

  set16(address: number, value: number): void {
    this.memory.write(address, Uint8Array.of(value & 0xff, (value >>> 8) & 0xff));
  }

  set32(address: number, value: number): void {
    this.set16(address, value & 0xffff);
    this.set16(address + 2, (value >>> 16) & 0xffff);
  }

  /** A `bigint` reaches every address there is, also those that no memory has. */
  set64(address: number, value: number | bigint): void {
    const wide = BigInt.asUintN(64, BigInt(value));
    this.set32(address, Number(wide & 0xffff_ffffn));
    this.set32(address + 4, Number(wide >> 32n));
  }
}
