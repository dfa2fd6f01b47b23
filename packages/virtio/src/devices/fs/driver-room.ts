import { Allocator } from '../../memory/allocator.ts';

/** The DAX window as a driver sees it: shared memory region 0 of its transport. Numbers are bytes. */
export interface WindowAccess {
  readonly length: number;
  /** @throws {HostError} when what is mapped there cannot be read. */
  read(offset: number, target: Uint8Array): void;
  /** @throws {HostError} when what is mapped there cannot be written. */
  write(offset: number, source: Uint8Array): void;
}

/** The largest power of two that mappings are aligned to: more makes no sense. */
const mostShift = 30;

/** The room in a window, from which mappings are given theirs. */
export class WindowRoom {
  readonly access: WindowAccess;
  /** What places are multiples of. */
  readonly alignment: number;
  readonly #allocator: Allocator;

  constructor(access: WindowAccess, alignment: number) {
    this.access = access;
    this.alignment = alignment;
    this.#allocator = new Allocator(0, access.length);
  }

  /** What a device says in INIT; `undefined` for what cannot be. A device that says nothing means pages. */
  static alignmentOf(shift: number): number | undefined {
    return shift > mostShift ? undefined : Math.max(4096, 2 ** shift);
  }

  /** @throws {UsageError} OUT_OF_MEMORY when there is no room. */
  take(length: number): number {
    return this.#allocator.allocate(length, this.alignment);
  }

  giveBack(place: number): void {
    this.#allocator.free(place);
  }
}
