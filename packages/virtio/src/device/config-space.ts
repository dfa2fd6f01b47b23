import type { DeviceType } from '../spec/device-type.ts';
import { readLittle, writeLittle } from './little-endian.ts';

/** A write of the driver that fell on a writable field. */
export interface ConfigWrite {
  readonly field: string;
  readonly value: unknown;
}

/** The bytes of a device's configuration space, and the generation that tells their versions apart. */
export class ConfigSpace {
  readonly #type: DeviceType;
  /** @internal */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  /** Changes with every change that the device makes; a transport shows as many low bits as it has. */
  generation = 0;

  constructor(type: DeviceType, initial: Readonly<Record<string, unknown>>) {
    this.#type = type;
    this.bytes = type.config.encode(initial);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** Bytes. */
  get size(): number {
    return this.bytes.length;
  }

  /** All fields by name. */
  get values(): Readonly<Record<string, unknown>> {
    return this.#type.config.read(this.#view);
  }

  /** A change by the device: the fields that are given, in one generation. */
  update(values: Readonly<Record<string, unknown>>): void {
    this.set(values);
    this.generation = (this.generation + 1) >>> 0;
  }

  /** The unsigned value of 1, 2 or 4 bytes at an offset, little-endian; bytes behind the end read as 0. */
  read(offset: number, width: number): number {
    return readLittle(this.bytes, offset, width);
  }

  /**
   * A write of the driver: 1, 2 or 4 bytes, little-endian. It takes effect where it lies within one field
   * that the driver may write, `writable` by the type's table; else it changes nothing and `undefined` comes back.
   */
  write(
    offset: number,
    width: number,
    value: number,
    writable: readonly string[] = this.#type.driverWritable,
  ): ConfigWrite | undefined {
    const field = this.writableField(offset, width, writable);
    if (field === undefined) return undefined;
    writeLittle(this.bytes, offset, width, value);
    return { field, value: this.#type.config.field[field]?.get(this.#view) };
  }

  /** The field that holds these bytes, of those that the driver may write. */
  writableField(
    offset: number,
    width: number,
    writable: readonly string[] = this.#type.driverWritable,
  ): string | undefined {
    return writable.find((name) => {
      const field = this.#type.config.field[name];
      return field !== undefined && offset >= field.offset && offset + width <= field.offset + field.size;
    });
  }

  /** What the driver wrote: no new generation. */
  set(values: Readonly<Record<string, unknown>>): void {
    this.#type.config.write(this.#view, 0, values);
  }
}

/** A saved configuration space: JSON. */
export interface ConfigState {
  readonly bytes: readonly number[];
  readonly generation: number;
}

/** Bytes and generation, to be saved. */
export function saveConfig({ bytes, generation }: ConfigSpace): ConfigState {
  return { bytes: Array.from(bytes), generation };
}

/** Takes saved bytes back; the generation moves on, so that a driver in mid-read sees a change. */
export function restoreConfig(space: ConfigSpace, { bytes, generation }: ConfigState): void {
  space.bytes.set(bytes.slice(0, space.size));
  space.generation = (generation + 1) >>> 0;
}
