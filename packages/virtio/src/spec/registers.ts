import type { Codec, Fields, Struct, ValueOf } from './layout.ts';

/** What the driver may do with a register. */
export type RegisterAccess = 'read-write' | 'read-only' | 'write-only';

/** A register of a transport: both sides, the trace and the inspector know it by this. */
export interface Register<N extends string = string> {
  /** As the specification writes it. */
  readonly name: N;
  /** Bytes from the start of its block. */
  readonly offset: number;
  /** Bytes: the one width that it is accessed with. */
  readonly width: 1 | 2 | 4;
  readonly access: RegisterAccess;
}

/** The registers that stand together, found by offset or by name. */
export class RegisterBlock<N extends string = string> {
  /** As traces show it: `common`, `isr`. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** By rising offset. */
  readonly registers: readonly Register<N>[];
  /** `block.register.queue_select.offset`. */
  readonly register: Readonly<Record<N, Register<N>>>;
  readonly #holding: (Register<N> | undefined)[];

  /** No two registers overlap. */
  constructor(name: string, registers: readonly Register<N>[]) {
    this.name = name;
    this.registers = [...registers].sort((a, b) => a.offset - b.offset);
    this.size = this.registers.reduce((end, { offset, width }) => Math.max(end, offset + width), 0);
    this.#holding = new Array(this.size).fill(undefined);
    for (const register of this.registers) {
      for (let at = register.offset; at < register.offset + register.width; at++) {
        this.#holding[at] = register;
      }
    }
    // Every name in N is the name of a register in the list: that is where N comes from.
    this.register = Object.fromEntries(this.registers.map((one) => [one.name, one])) as Readonly<
      Record<N, Register<N>>
    >;
  }

  /** The register that an access reaches as it should: all of it, in one. Any other is a hole or too wide. */
  find(offset: number, width: number): Register<N> | undefined {
    const register = this.#holding[offset];
    return register?.offset === offset && register.width === width ? register : undefined;
  }

  /** The register that holds the byte at an offset. */
  holding(offset: number): Register<N> | undefined {
    return this.#holding[offset];
  }
}

/** A 64-bit field is two registers, low half first; any other is one. */
export type RegisterNames<F extends Fields> = {
  [K in Extract<keyof F, string>]: ValueOf<F[K]> extends bigint ? `${K}_lo` | `${K}_hi` : K;
}[Extract<keyof F, string>];

/**
 * The registers that a structure's integers are, named `queue_size`, `capacity_lo`, `geometry.heads`, `mac[3]`.
 * All are read-only but those of the fields that are named.
 */
export function fieldRegisters(
  structure: Struct<Fields>,
  access: { readonly readWrite?: readonly string[] } = {},
): Register[] {
  return structure.parts().flatMap(({ name: path, offset, size }): Register[] => {
    const name = path.slice(1);
    const field = /^\w+/.exec(name)?.[0] ?? name;
    const kind: RegisterAccess = access.readWrite?.includes(field) ? 'read-write' : 'read-only';
    if (size === 1 || size === 2 || size === 4) return [{ name, offset, width: size, access: kind }];
    return [
      { name: `${name}_lo`, offset, width: 4, access: kind },
      { name: `${name}_hi`, offset: offset + 4, width: 4, access: kind },
    ];
  });
}

/**
 * The registers of a structure that is made of integers alone. All are read-write but those that are named.
 */
export function structRegisters<F extends Readonly<Record<string, Codec<number> | Codec<bigint>>>>(
  structure: Struct<F>,
  access: { readonly readOnly?: readonly Extract<keyof F, string>[] } = {},
): Register<RegisterNames<F>>[] {
  const readOnly = new Set<string>(access.readOnly);
  const readWrite = Object.keys(structure.field).filter((name) => !readOnly.has(name));
  // Named after the structure's fields, which are all integers, the 64-bit ones as their halves.
  return fieldRegisters(structure, { readWrite }) as Register<RegisterNames<F>>[];
}
