import type { BarContent } from './bar.ts';

/** A shared memory region, for hosts that do not map its bytes. */
export class SharedMemoryArea implements BarContent {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  read(offset: number, width: number): number {
    let value = 0;
    for (let i = 0; i < width; i++) value += (this.#bytes[offset + i] ?? 0) * 2 ** (8 * i);
    return value;
  }

  write(offset: number, width: number, value: number): void {
    for (let i = 0; i < width && offset + i < this.#bytes.length; i++) {
      this.#bytes[offset + i] = value >>> (8 * i);
    }
  }
}
