import { readLittle, writeLittle } from '../../device/little-endian.ts';
import type { BarContent } from './bar.ts';

/** A shared memory region, for hosts that do not map its bytes. */
export class SharedMemoryArea implements BarContent {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  read(offset: number, width: number): number {
    return readLittle(this.#bytes, offset, width);
  }

  write(offset: number, width: number, value: number): void {
    writeLittle(this.#bytes, offset, width, value);
  }
}
