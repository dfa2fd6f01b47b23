import type { Fields, Struct } from '../spec/layout.ts';
import type { Json } from './json.ts';

/** A structure in a message, with its fields by the specification's names. */
export interface TracedStructure {
  readonly name: string;
  /** What kind of message it makes it, such as `IN` or `RX.PROMISC`, where that has a name. */
  readonly kind?: string;
  readonly fields: { readonly [field: string]: Json };
}

/** One side of a message. */
export interface TracedBytes {
  readonly length: number;
  /** A copy of `count` bytes from `at` on; fewer where there are no more. */
  bytes(at: number, count: number): Uint8Array;
}

/** A message as a trace has it: when the device took it, and when it gave it back. */
export interface TracedMessage {
  /** The queue's name, with its number in a family: `requestq1`. */
  readonly queue: string;
  /** True when the feature was negotiated, one of a type's own or a reserved one. */
  has(feature: string): boolean;
  /** What the driver wrote. */
  readonly readable: TracedBytes;
  /** What the device wrote; absent when the message was just taken. */
  readonly written: TracedBytes | undefined;
}

/**
 * Says which structures of a device type are in a message: those that the driver wrote, or those that the device wrote.
 * What it cannot tell it leaves out; it never throws.
 */
export type MessageReader = (message: TracedMessage) => readonly TracedStructure[];

/** A structure that lies at a place; nothing where it is not all there. */
export function tracedStructure(
  layout: Struct<Fields>,
  from: TracedBytes,
  at = 0,
  kind?: string,
): TracedStructure[] {
  return tracedFields(layout, from, at, layout.size, kind);
}

/** As much of a structure as lies in `length` bytes; nothing where fewer are there. */
export function tracedFields(
  layout: Struct<Fields>,
  from: TracedBytes,
  at: number,
  length: number,
  kind?: string,
): TracedStructure[] {
  const bytes = from.bytes(at, length);
  if (bytes.length < length) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const present = Object.entries(layout.field).filter(([, { offset, size }]) => offset + size <= length);
  const fields = Object.fromEntries(present.map(([name, field]) => [name, shown(field.get(view))]));
  return [{ name: layout.name, ...(kind === undefined ? {} : { kind }), fields }];
}

/** The name of a value in a table of them. */
export function valueName(names: Readonly<Record<string, number>>, value: unknown): string | undefined {
  return Object.entries(names).find(([, number]) => number === value)?.[0];
}

/** Numbers above 2^53 and bytes are texts of hexadecimal digits. */
function shown(value: unknown): Json {
  if (typeof value === 'bigint')
    return value <= Number.MAX_SAFE_INTEGER ? Number(value) : `0x${value.toString(16)}`;
  if (value instanceof Uint8Array)
    return Array.from(value, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (Array.isArray(value)) return value.map(shown);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shown(inner)]));
  return typeof value === 'number' ? value : String(value);
}
