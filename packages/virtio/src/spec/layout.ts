import { UsageError } from '../errors.ts';

/** Reads and writes one value at a fixed offset from a base that the caller gives. */
export interface Accessor<V> {
  /** Bytes from the start of the structure. */
  readonly offset: number;
  /** Bytes; for a variable tail, the size of one element. */
  readonly size: number;
  get(view: DataView, base?: number): V;
  set(view: DataView, base: number, value: V): void;
}

/** One integer of a type: the unit in which a driver accesses it. */
export interface Part {
  /** Behind the name of the field: empty, `.cylinders`, `[3]`. */
  readonly name: string;
  /** Bytes from the start of the type. */
  readonly offset: number;
  /** Bytes: 1, 2, 4 or 8. */
  readonly size: number;
}

/** A type of the specification's notation: how many bytes, and how to reach it at an offset. */
export interface Codec<V> {
  /** As the specification writes it: `le32`, `u8[16]`, `struct virtio_blk_config`. */
  readonly notation: string;
  /** Bytes. A variable tail counts as 0. */
  readonly size: number;
  /** The size of one element, where the field is a variable tail; else `undefined`. */
  readonly tail?: number;
  /** The integers it is made of, in order; none for a variable tail. */
  parts(): readonly Part[];
  at(offset: number): Accessor<V>;
}

/** The value that a codec reads and writes. */
export type ValueOf<C> = C extends Codec<infer V> ? V : never;

/* @__NO_SIDE_EFFECTS__ */
function scalar<V>(
  notation: string,
  size: number,
  read: (offset: number) => (view: DataView, base?: number) => V,
  write: (offset: number) => (view: DataView, base: number, value: V) => void,
  parts: () => readonly Part[] = () => [{ name: '', offset: 0, size }],
): Codec<V> {
  return {
    notation,
    size,
    parts,
    at: (offset) => ({ offset, size, get: read(offset), set: write(offset) }),
  };
}

/* @__NO_SIDE_EFFECTS__ */
const number16 = (notation: string, little: boolean): Codec<number> =>
  scalar(
    notation,
    2,
    (offset) =>
      (view, base = 0) =>
        view.getUint16(base + offset, little),
    (offset) => (view, base, value) => view.setUint16(base + offset, value, little),
  );

/* @__NO_SIDE_EFFECTS__ */
const number32 = (notation: string, little: boolean): Codec<number> =>
  scalar(
    notation,
    4,
    (offset) =>
      (view, base = 0) =>
        view.getUint32(base + offset, little),
    (offset) => (view, base, value) => view.setUint32(base + offset, value, little),
  );

/* @__NO_SIDE_EFFECTS__ */
const number64 = (notation: string, little: boolean): Codec<bigint> =>
  scalar(
    notation,
    8,
    (offset) =>
      (view, base = 0) =>
        view.getBigUint64(base + offset, little),
    (offset) => (view, base, value) => view.setBigUint64(base + offset, value, little),
  );

/** An unsigned byte. */
export const u8: Codec<number> = scalar(
  'u8',
  1,
  (offset) =>
    (view, base = 0) =>
      view.getUint8(base + offset),
  (offset) => (view, base, value) => view.setUint8(base + offset, value),
);
export const le16: Codec<number> = number16('le16', true);
export const le32: Codec<number> = number32('le32', true);
/** 64 bits are a `bigint`: this is the control plane. The data plane joins two halves into a number. */
export const le64: Codec<bigint> = number64('le64', true);
export const be16: Codec<number> = number16('be16', false);
export const be32: Codec<number> = number32('be32', false);
export const be64: Codec<bigint> = number64('be64', false);

/** `length` bytes, copied out of and into the structure. */
/* @__NO_SIDE_EFFECTS__ */
export function bytes(length: number): Codec<Uint8Array> {
  return scalar(
    `u8[${length}]`,
    length,
    (offset) =>
      (view, base = 0) =>
        new Uint8Array(view.buffer, view.byteOffset + base + offset, length).slice(),
    (offset) => (view, base, value) => {
      if (value.length > length) {
        throw new UsageError('BAD_ARGUMENT', `${value.length} bytes do not fit in u8[${length}]`);
      }
      const target = new Uint8Array(view.buffer, view.byteOffset + base + offset, length);
      target.fill(0);
      target.set(value);
    },
    () => repeated(u8, length),
  );
}

function repeated(element: Codec<unknown>, length: number): Part[] {
  return Array.from({ length }, (_, index) =>
    element.parts().map(({ name, offset, size }) => ({
      name: `[${index}]${name}`,
      offset: index * element.size + offset,
      size,
    })),
  ).flat();
}

/** `length` values of one type, one after the other. */
/* @__NO_SIDE_EFFECTS__ */
export function array<V>(element: Codec<V>, length: number): Codec<readonly V[]> {
  return {
    notation: `${element.notation}[${length}]`,
    size: element.size * length,
    parts: () => repeated(element, length),
    at(offset) {
      const slots = Array.from({ length }, (_, index) => element.at(offset + index * element.size));
      return {
        offset,
        size: element.size * length,
        get: (view, base = 0) => slots.map((slot) => slot.get(view, base)),
        set(view, base, values) {
          if (values.length !== length) {
            throw new UsageError('BAD_ARGUMENT', `${values.length} values given for an array of ${length}`);
          }
          for (const [index, value] of values.entries()) slots[index]?.set(view, base, value);
        },
      };
    },
  };
}

/** A variable number of elements at the end of a structure: as many whole ones as the view still holds. */
/* @__NO_SIDE_EFFECTS__ */
export function tail<V>(element: Codec<V>): Codec<readonly V[]> {
  return {
    notation: `${element.notation}[]`,
    size: 0,
    tail: element.size,
    parts: () => [],
    at: (offset) => ({
      offset,
      size: element.size,
      get(view, base = 0) {
        const count = Math.max(0, Math.floor((view.byteLength - base - offset) / element.size));
        return Array.from({ length: count }, (_, i) => element.at(offset + i * element.size).get(view, base));
      },
      set(view, base, values) {
        for (const [i, value] of values.entries()) {
          element.at(offset + i * element.size).set(view, base, value);
        }
      },
    }),
  };
}

/** Bit fields inside an integer, lowest bits first; the widths in bits. Bits that are not named stay 0. */
/* @__NO_SIDE_EFFECTS__ */
export function bits<const W extends Readonly<Record<string, number>>>(
  whole: Codec<number>,
  widths: W,
): Codec<{ readonly [K in keyof W]: number }> {
  type Fields = { readonly [K in keyof W]: number };
  let used = 0;
  const parts = Object.entries(widths).map(([name, width]) => {
    const part = { name, width, shift: used, mask: 2 ** width - 1 };
    used += width;
    return part;
  });
  if (used > whole.size * 8) {
    throw new UsageError('BAD_LAYOUT', `${used} bits do not fit in ${whole.notation}`);
  }
  const notation = `${whole.notation} { ${parts.map((part) => `${part.name} : ${part.width}`).join('; ')} }`;
  return {
    notation,
    size: whole.size,
    parts: whole.parts,
    at(offset) {
      const accessor = whole.at(offset);
      return {
        offset,
        size: whole.size,
        get(view, base) {
          const value = accessor.get(view, base);
          // Built from exactly the names in `widths`.
          return Object.fromEntries(
            parts.map(({ name, shift, mask }) => [name, (value >>> shift) & mask]),
          ) as Fields;
        },
        set(view, base, fields) {
          let value = 0;
          for (const { name, shift, mask } of parts) value |= ((fields[name] ?? 0) & mask) << shift;
          accessor.set(view, base, value >>> 0);
        },
      };
    },
  };
}

/** The fields of a structure: names as the specification has them, in order. */
export type Fields = Readonly<Record<string, Codec<unknown>>>;

/** What a structure reads: a plain object with the specification's field names. */
export type StructValue<F extends Fields> = { readonly [K in keyof F]: ValueOf<F[K]> };

/** A structure declared once; both sides, the tests and the inspector read this declaration. */
export interface Struct<F extends Fields> extends Codec<StructValue<F>> {
  /** The C name that the specification uses. */
  readonly name: string;
  readonly codecs: F;
  /** One accessor for each field: `virtq_desc.field.len.get(view, base)`. */
  readonly field: { readonly [K in keyof F]: Accessor<ValueOf<F[K]>> };
  /** Reads every field from `base`, in bytes. */
  read(view: DataView, base?: number): StructValue<F>;
  /** Writes the fields that are given, and leaves the others alone. */
  write(view: DataView, base: number, value: Partial<StructValue<F>>): void;
  /** The structure's bytes with the given fields; the others are 0. A tail takes the room it needs. */
  encode(value: Partial<StructValue<F>>): Uint8Array<ArrayBuffer>;
}

/**
 * Declares a structure in the specification's own notation.
 *
 * @example
 * const virtq_used_elem = struct('virtq_used_elem', { id: le32, len: le32 });
 * virtq_used_elem.size; // 8
 *
 * @throws {UsageError} BAD_LAYOUT when a variable tail is not the last field.
 */
/* @__NO_SIDE_EFFECTS__ */
export function struct<const F extends Fields>(name: string, codecs: F): Struct<F> {
  const accessors: Record<string, Accessor<unknown>> = {};
  let size = 0;
  let tailSize: number | undefined;
  for (const [fieldName, codec] of Object.entries(codecs)) {
    if (tailSize !== undefined) {
      throw new UsageError('BAD_LAYOUT', `${name}.${fieldName} stands behind a variable tail`);
    }
    accessors[fieldName] = codec.at(size);
    size += codec.size;
    tailSize = codec.tail;
  }
  const entries = Object.entries(accessors);

  const readAt = (view: DataView, base: number): StructValue<F> =>
    // Built from exactly the fields of `codecs`.
    Object.fromEntries(entries.map(([key, accessor]) => [key, accessor.get(view, base)])) as StructValue<F>;

  const writeAt = (view: DataView, base: number, value: Partial<StructValue<F>>): void => {
    for (const [key, accessor] of entries) {
      const given: unknown = value[key];
      if (given !== undefined) accessor.set(view, base, given);
    }
  };

  return {
    name,
    codecs,
    notation: `struct ${name}`,
    size,
    ...(tailSize === undefined ? {} : { tail: tailSize }),
    parts: () =>
      Object.entries(codecs).flatMap(([fieldName, codec]) => {
        const base = accessors[fieldName]?.offset ?? 0;
        return codec.parts().map((part) => ({
          name: `.${fieldName}${part.name}`,
          offset: base + part.offset,
          size: part.size,
        }));
      }),
    // Built from exactly the fields of `codecs`.
    field: accessors as Struct<F>['field'],
    at: (offset) => ({
      offset,
      size,
      get: (view, base = 0) => readAt(view, base + offset),
      set: (view, base, value) => writeAt(view, base + offset, value),
    }),
    read: (view, base = 0) => readAt(view, base),
    write: writeAt,
    encode(value) {
      const lastKey = entries.at(-1)?.[0];
      const last: unknown = lastKey === undefined ? undefined : value[lastKey];
      const extra = tailSize !== undefined && Array.isArray(last) ? last.length * tailSize : 0;
      const encoded = new Uint8Array(size + extra);
      writeAt(new DataView(encoded.buffer), 0, value);
      return encoded;
    },
  };
}
