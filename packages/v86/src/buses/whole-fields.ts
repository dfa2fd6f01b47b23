import type { DeviceType } from 'virtio/spec';

/** Accesses of 1, 2 or 4 bytes. */
export interface Accesses {
  read(offset: number, width: number): number;
  write(offset: number, width: number, value: number): void;
}

/** Where the device's own configuration begins. */
const configOffset = 0x100;

/**
 * Puts together what v86 cuts: it makes two bytes of a 16-bit access to memory, and a field of a device's
 * configuration is to be accessed whole. All other accesses go through as they are.
 */
export class WholeFields implements Accesses {
  readonly #target: Accesses;
  /** Offsets of the 16-bit fields. */
  readonly #fields: ReadonlySet<number>;
  /** The lower byte that was written last, which waits for the upper one. */
  #lower: { readonly offset: number; readonly value: number } | undefined;

  constructor(target: Accesses, type: DeviceType) {
    this.#target = target;
    const fields = Object.values(type.config.field).filter(({ size }) => size === 2);
    this.#fields = new Set(fields.map(({ offset }) => configOffset + offset));
  }

  read(offset: number, width: number): number {
    if (width === 1 && this.#fields.has(offset & ~1)) {
      return (this.#target.read(offset & ~1, 2) >> (8 * (offset & 1))) & 0xff;
    }
    return this.#target.read(offset, width);
  }

  write(offset: number, width: number, value: number): void {
    const lower = this.#lower;
    this.#lower = undefined;
    if (width !== 1 || !this.#fields.has(offset & ~1)) this.#target.write(offset, width, value);
    else if ((offset & 1) === 0) this.#lower = { offset, value };
    else if (lower?.offset === offset - 1) this.#target.write(offset - 1, 2, lower.value | (value << 8));
    else this.#target.write(offset, width, value);
  }
}
