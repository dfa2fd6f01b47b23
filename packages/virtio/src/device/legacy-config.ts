import { fieldRegisters, RegisterBlock } from '../spec/registers.ts';
import type { DeviceCore } from './core.ts';

/**
 * A device's own configuration as legacy drivers reach it: accesses of any width, at any offset, have the effect of
 * those that fit the fields. None throws.
 */
export class LegacyConfig {
  readonly #core: DeviceCore;
  readonly #block: RegisterBlock;

  constructor(core: DeviceCore) {
    this.#core = core;
    this.#block = new RegisterBlock('config', fieldRegisters(core.device.type.config));
  }

  /** Bytes. */
  get size(): number {
    return this.#block.size;
  }

  /** `width` in bytes, at most 4. Bytes behind the end read as 0. */
  read(offset: number, width: number): number {
    const value = this.#core.readConfig(offset, width);
    this.#core.trace?.register('read', this.#block, offset, width, value);
    this.#checkEnd('read', offset, width);
    return value;
  }

  /** Each field takes its part of what is written across several. */
  write(offset: number, width: number, value: number): void {
    this.#core.trace?.register('write', this.#block, offset, width, value);
    if (!this.#checkEnd('write', offset, width)) return;
    for (let at = offset; at < offset + width; ) {
      const register = this.#block.holding(at);
      const fieldEnd = register === undefined ? at + 1 : register.offset + register.width;
      const end = Math.min(fieldEnd, offset + width);
      const part = Math.floor(value / 2 ** (8 * (at - offset))) % 2 ** (8 * (end - at));
      this.#core.writeConfig(at, end - at, part);
      at = end;
    }
  }

  #checkEnd(access: 'read' | 'write', offset: number, width: number): boolean {
    const inside = offset >= 0 && offset + width <= this.size;
    if (!inside) {
      const what = `a ${access} of ${width} bytes at ${offset} of a configuration of ${this.size}`;
      this.#core.violation('REGISTER_ACCESS', what);
    }
    return inside;
  }
}
