import { orByte } from '../../memory/atomics.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';

/** Memory at addresses that a program gave, which may be any: nothing here throws. */
export class GuestAccess {
  readonly memory: GuestMemory;

  constructor(memory: GuestMemory) {
    this.memory = memory;
  }

  /** A copy of bytes; `undefined` when they are not all memory. */
  read(address: number, length: number): DataView | undefined {
    if (!this.memory.contains(address, length, 'read')) return undefined;
    return new DataView(this.memory.read(address, length).buffer);
  }

  /** False, having written nothing, when the bytes are not all memory. */
  write(address: number, bytes: Uint8Array): boolean {
    if (!this.memory.contains(address, bytes.length, 'write')) return false;
    this.memory.write(address, bytes);
    this.#wrote(address, bytes.length);
    return true;
  }

  /** Sets bits of one byte in one step, and gives what it was; `undefined` when it is not memory. */
  setBits(address: number, bits: number): number | undefined {
    let before: number | undefined;
    this.memory.pieces(address, 1, 'write', (region, offset) => {
      before = orByte(region, offset, bits);
    });
    if (before !== undefined) this.#wrote(address, 1);
    return before;
  }

  #wrote(address: number, length: number): void {
    const { onDeviceWrite } = this.memory;
    if (onDeviceWrite !== undefined) this.memory.pieces(address, length, 'write', onDeviceWrite);
  }
}

/** A 64-bit address as a number; `undefined` where no memory can be. */
export function exactAddress(address: bigint): number | undefined {
  return address < 2n ** 53n ? Number(address) : undefined;
}
