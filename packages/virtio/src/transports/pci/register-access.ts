import { readField, writeField } from '../../driver/config-access.ts';
import type { Register } from '../../spec/registers.ts';
import type { PciAccess } from './access.ts';
import type { PciStructure } from './capabilities.ts';

/** What reaches behind BARs: the function's own BARs, or the PCI_CFG window. */
export type BarPath = Pick<PciAccess, 'barRead' | 'barWrite' | 'barWriteNow'>;

/** Registers by their names. */
export interface Registers<N extends string> {
  read(name: N): Promise<number>;
  write(name: N, value: number): Promise<void>;
}

/**
 * The registers of one structure, each accessed in its own width.
 *
 * @spec 4.1.3.1 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout
 */
export class RegisterAccess<N extends string> implements Registers<N> {
  readonly #path: BarPath;
  readonly #structure: Pick<PciStructure, 'bar' | 'offset'>;
  readonly #registers: Readonly<Record<N, Register<N>>>;

  constructor(
    path: BarPath,
    structure: Pick<PciStructure, 'bar' | 'offset'>,
    registers: Readonly<Record<N, Register<N>>>,
  ) {
    this.#path = path;
    this.#structure = structure;
    this.#registers = registers;
  }

  read(name: N): Promise<number> {
    const { offset, width } = this.#registers[name];
    return this.#path.barRead(this.#structure.bar, this.#structure.offset + offset, width);
  }

  write(name: N, value: number): Promise<void> {
    const { offset, width } = this.#registers[name];
    return this.#path.barWrite(this.#structure.bar, this.#structure.offset + offset, width, value);
  }
}

/**
 * Reads a field of a structure in its own width.
 *
 * @spec 4.1.3.1 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout
 */
export function readBytes(
  path: BarPath,
  structure: PciStructure,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  // A device may be older than a field, and its structure end before it: that reads as 0.
  return readField(length, async (at, width) =>
    offset + at + width <= structure.length
      ? path.barRead(structure.bar, structure.offset + offset + at, width)
      : 0,
  );
}

/**
 * Writes a field of a structure in its own width.
 *
 * @spec 4.1.3.1 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout
 */
export function writeBytes(
  path: BarPath,
  structure: PciStructure,
  offset: number,
  bytes: Uint8Array,
): Promise<void> {
  return writeField(bytes, (at, width, value) =>
    path.barWrite(structure.bar, structure.offset + offset + at, width, value),
  );
}
