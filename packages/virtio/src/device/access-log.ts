import type { Tracer } from './trace.ts';

/** Tells a device's trace of the accesses to one block of registers. */
export class AccessLog {
  readonly #device: { readonly trace: Tracer | undefined };
  readonly #block: string;
  readonly #nameAt: (offset: number) => string | undefined;

  /** `block` and `nameAt` tell the names that the trace shows; what has none is a hole, `?`. */
  constructor(
    device: { readonly trace: Tracer | undefined },
    block: string,
    nameAt: (offset: number) => string | undefined,
  ) {
    this.#device = device;
    this.#block = block;
    this.#nameAt = nameAt;
  }

  /** `offset` and `width` in bytes. */
  record(access: 'read' | 'write', offset: number, width: number, value: number): void {
    const { trace } = this.#device;
    if (trace === undefined) return;
    const register = this.#nameAt(offset) ?? '?';
    trace({ kind: 'register', access, block: this.#block, register, offset, width, value });
  }
}
