import type { Register, RegisterBlock } from '../spec/registers.ts';
import type { DeviceCore } from './core.ts';

/** What stands behind a block of registers. */
export interface RegisterTarget<N extends string> {
  /** The unsigned value of a register. */
  read(register: Register<N>): number;
  /** A write of the register's own width. */
  write(register: Register<N>, value: number): void;
  /** What there is to say of a hole: that another version has a register there. */
  hint?(offset: number): string | undefined;
}

/**
 * A block of registers as a driver reaches it. An access that fits a register goes to the target; a read of
 * any other shape is put together from the registers it touches, a write of any other shape changes nothing,
 * and both are named as violations. No access throws.
 */
export class RegisterBank<N extends string> {
  readonly #block: RegisterBlock<N>;
  readonly #target: RegisterTarget<N>;
  readonly #core: DeviceCore;

  constructor(block: RegisterBlock<N>, target: RegisterTarget<N>, core: DeviceCore) {
    this.#block = block;
    this.#target = target;
    this.#core = core;
  }

  /** `width` in bytes. Bytes of holes read as 0. */
  read(offset: number, width: number): number {
    const register = this.#block.find(offset, width);
    const fits = register !== undefined && register.access !== 'write-only';
    const value = fits ? this.#target.read(register) : this.#compose(offset, width);
    this.#core.trace?.register('read', this.#block, offset, width, value);
    if (!fits) this.#misfit('read', offset, width);
    return value;
  }

  write(offset: number, width: number, value: number): void {
    const register = this.#block.find(offset, width);
    this.#core.trace?.register('write', this.#block, offset, width, value);
    if (register !== undefined && register.access !== 'read-only') this.#target.write(register, value);
    else this.#misfit('write', offset, width);
  }

  #compose(offset: number, width: number): number {
    let value = 0;
    let last: Register<N> | undefined;
    let lastValue = 0;
    for (let i = 0; i < width && i < 8; i++) {
      const register = this.#block.holding(offset + i);
      if (register === undefined || register.access === 'write-only') continue;
      if (register !== last) lastValue = this.#target.read(register);
      last = register;
      value += ((lastValue >>> (8 * (offset + i - register.offset))) & 0xff) * 2 ** (8 * i);
    }
    return value;
  }

  #misfit(access: 'read' | 'write', offset: number, width: number): void {
    const held = this.#block.holding(offset);
    const why =
      held === undefined
        ? (this.#target.hint?.(offset) ?? 'no register')
        : `${held.name}, ${held.width} wide and ${held.access}`;
    this.#core.misaccess(access, offset, width, `${this.#block.name}: ${why}`);
  }
}
