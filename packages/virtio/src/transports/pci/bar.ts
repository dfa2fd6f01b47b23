import { UsageError } from '../../errors.ts';
import * as commandBit from './command-bit.ts';
import { type BarKind, pci_header } from './pci-registers.ts';

/** A Base Address Register of a function, as its host sees it. The object stays; its values change. */
export interface PciBar {
  /** 0 to 5; a `memory64` BAR takes the next index as well. */
  readonly index: number;
  readonly kind: BarKind;
  readonly prefetchable: boolean;
  /** Bytes; a power of two. */
  readonly size: number;
  /** Where the guest has put it, in I/O ports or guest-physical bytes; means something while `enabled`. */
  readonly address: number;
  /** True while the command register lets the function answer there, and there is a place to answer at. */
  readonly enabled: boolean;
  /** The memory behind all of the BAR, when it is a shared memory region that a host may map. */
  readonly bytes: Uint8Array | undefined;
}

/** What answers in a part of a BAR; offsets count from the part's start. */
export interface BarContent {
  read(offset: number, width: number): number;
  write(offset: number, width: number, value: number): void;
}

interface Part {
  readonly offset: number;
  readonly length: number;
  readonly content: BarContent;
}

/** Bytes of a page: structures in memory begin at one each, so that a host can treat them apart. */
const pageSize = 4096;

/** Type bits of a BAR in configuration space. */
const typeBits = { io: 0x1, memory32: 0x0, memory64: 0x4 } as const;
const prefetchableBit = 0x8;

/** The number that ends the space a BAR can be placed in; what touches it is a sizing probe, and no place. */
const spaceEnd = { io: 2 ** 32, memory32: 2 ** 32, memory64: 2 ** 53 } as const;

/** A Base Address Register and what is behind it. */
export class Bar implements PciBar {
  readonly index: number;
  readonly kind: BarKind;
  readonly prefetchable: boolean;
  readonly bytes: Uint8Array | undefined;
  address = 0;
  enabled = false;

  readonly #minimum: number;
  readonly #parts: Part[] = [];
  #end = 0;

  constructor(index: number, kind: BarKind, minimum: number, bytes?: Uint8Array) {
    if (!Number.isInteger(index) || index < 0 || index > (kind === 'memory64' ? 4 : 5)) {
      throw new UsageError('BAD_ARGUMENT', `there is no ${kind} BAR ${index}`);
    }
    this.index = index;
    this.kind = kind;
    this.prefetchable = bytes !== undefined;
    this.bytes = bytes;
    this.#minimum = kind === 'io' ? 16 : Math.max(16, minimum);
  }

  get size(): number {
    return 2 ** Math.ceil(Math.log2(Math.max(this.#end, this.#minimum)));
  }

  /** Gives `content` a place; returns its offset. `alignment` in bytes. */
  place(length: number, alignment: number, content: BarContent): number {
    // Ports are few, so structures stand close there.
    const unit = this.kind === 'io' ? alignment % pageSize || 4 : Math.max(alignment, pageSize);
    const offset = Math.ceil(this.#end / unit) * unit;
    this.#parts.push({ offset, length, content });
    this.#end = offset + length;
    return offset;
  }

  /** The part that holds an offset. */
  at(offset: number): Part | undefined {
    const parts = this.#parts;
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i]!;
      if (offset >= part.offset && offset < part.offset + part.length) return part;
    }
    return undefined;
  }

  /** Bytes from the start of configuration space. */
  get register(): number {
    return pci_header.field.bar0.offset + 4 * this.index;
  }

  /** The register's read-only bits. */
  get type(): number {
    return typeBits[this.kind] | (this.prefetchable ? prefetchableBit : 0);
  }

  /** The bit of the command register that lets the BAR answer. */
  get decodeBit(): number {
    return this.kind === 'io' ? commandBit.IO_SPACE : commandBit.MEMORY_SPACE;
  }

  /** The bits that the guest may write: of the register, and of the one behind it. */
  get writable(): readonly [low: number, high: number] {
    const low = this.size >= 2 ** 32 ? 0 : 2 ** 32 - this.size;
    if (this.kind !== 'memory64') return [low, 0];
    return [low, this.size <= 2 ** 32 ? 2 ** 32 - 1 : 2 ** 32 - this.size / 2 ** 32];
  }

  /** The guest wrote the register or the command register; true when a host must hear of it. */
  update(low: number, high: number, command: number): boolean {
    const address = (low & ~(this.kind === 'io' ? 0x3 : 0xf)) >>> 0;
    const whole = this.kind === 'memory64' ? high * 2 ** 32 + address : address;
    const decoded = (command & this.decodeBit) !== 0;
    const enabled = decoded && whole !== 0 && whole + this.size < spaceEnd[this.kind];
    const changed = enabled !== this.enabled || (enabled && whole !== this.address);
    this.address = whole;
    this.enabled = enabled;
    return changed;
  }
}
