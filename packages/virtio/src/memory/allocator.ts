import { UsageError } from '../errors.ts';

/**
 * Hands out guest memory to a driver: rings, request headers, buffers. First fit over a list of free ranges,
 * joined again when they are freed.
 */
export class Allocator {
  /** Free ranges by rising address, never touching one another. */
  readonly #free: { start: number; length: number }[];
  readonly #used = new Map<number, number>();

  /** `start` and `length` in bytes: the part of guest memory that is the driver's to give. */
  constructor(start: number, length: number) {
    this.#free = [{ start, length }];
  }

  /** Bytes that are free, not necessarily in one piece. */
  get available(): number {
    return this.#free.reduce((sum, range) => sum + range.length, 0);
  }

  /**
   * The address of `length` free bytes, a multiple of `alignment`. The bytes hold whatever they held.
   *
   * @throws {UsageError} OUT_OF_MEMORY when no free range is large enough.
   */
  allocate(length: number, alignment = 16): number {
    if (!(length > 0) || !(alignment > 0)) {
      throw new UsageError('BAD_ARGUMENT', `cannot allocate ${length} bytes aligned to ${alignment}`);
    }
    for (const [index, range] of this.#free.entries()) {
      const address = Math.ceil(range.start / alignment) * alignment;
      const before = address - range.start;
      if (before + length > range.length) continue;
      const after = { start: address + length, length: range.length - before - length };
      const rest = [{ start: range.start, length: before }, after].filter((part) => part.length > 0);
      this.#free.splice(index, 1, ...rest);
      this.#used.set(address, length);
      return address;
    }
    throw new UsageError('OUT_OF_MEMORY', `no ${length} bytes of driver memory are free`);
  }

  /** @throws {UsageError} BAD_ARGUMENT for an address that is not allocated. */
  free(address: number): void {
    const length = this.#used.get(address);
    if (length === undefined) throw new UsageError('BAD_ARGUMENT', `address ${address} is not allocated`);
    this.#used.delete(address);
    const at = this.#free.findIndex((range) => range.start > address);
    const index = at === -1 ? this.#free.length : at;
    this.#free.splice(index, 0, { start: address, length });
    this.#join(index);
    this.#join(index - 1);
  }

  #join(index: number): void {
    const range = this.#free[index];
    const next = this.#free[index + 1];
    if (range === undefined || next === undefined || range.start + range.length !== next.start) return;
    range.length += next.length;
    this.#free.splice(index + 1, 1);
  }
}
