import type { Register } from '../../spec/registers.ts';
import type { PciAccess } from './access.ts';
import type { PciStructure } from './capabilities.ts';

/** What reaches behind BARs: the function's own BARs, or the PCI_CFG window. */
export type BarPath = Pick<PciAccess, 'barRead' | 'barWrite' | 'barWriteNow'>;

/**
 * The registers of one structure, each accessed in its own width.
 *
 * @spec 4.1.3.1 driver: Virtio Transport Options / Virtio Over PCI Bus / PCI Device Layout
 */
export class RegisterAccess<N extends string> {
  readonly #path: BarPath;
  readonly #structure: PciStructure;
  readonly #registers: Readonly<Record<N, Register<N>>>;

  constructor(path: BarPath, structure: PciStructure, registers: Readonly<Record<N, Register<N>>>) {
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
