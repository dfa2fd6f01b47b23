import type { Register } from '../../spec/registers.ts';
import type { MmioAccess } from './access.ts';

/** The control registers of one version, each accessed as a whole. */
export class RegisterAccess<N extends string> {
  readonly #access: MmioAccess;
  readonly #registers: Readonly<Record<N, Register<N>>>;

  constructor(access: MmioAccess, registers: Readonly<Record<N, Register<N>>>) {
    this.#access = access;
    this.#registers = registers;
  }

  /** 32 bits, unsigned. */
  async read(name: N): Promise<number> {
    const { offset, width } = this.#registers[name];
    return (await this.#access.read(offset, width)) >>> 0;
  }

  write(name: N, value: number): Promise<void> {
    const { offset, width } = this.#registers[name];
    return this.#access.write(offset, width, value);
  }

  writeNow(name: N, value: number): void {
    const { offset, width } = this.#registers[name];
    this.#access.writeNow(offset, width, value);
  }
}
