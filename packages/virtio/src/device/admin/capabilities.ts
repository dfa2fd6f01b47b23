import { UsageError } from '../../errors.ts';
import { capabilityIdsEnd } from '../../spec/admin.ts';
import { type CapabilityType, capabilityMistake } from '../../spec/capability.ts';
import type { Fields, StructValue } from '../../spec/layout.ts';
import { invalidField, notThere } from './refusal.ts';

/** A capability of a device: made by {@link capability}. */
export interface Capability {
  readonly id: number;
  readonly name: string;
  /** What the device shows. */
  readonly value: Uint8Array<ArrayBuffer>;
  /** The name of the first field that a driver may not set so; `undefined` when all are well. */
  mistake(wanted: Uint8Array<ArrayBuffer>): string | undefined;
  /**
   * The driver is about to set it so; `undefined` when the device was reset, and nothing is set.
   *
   * @throws {AdminRefusal} when it cannot be; nothing has changed then.
   */
  apply?(wanted: Uint8Array<ArrayBuffer> | undefined): void;
}

/**
 * What a device shows of a capability.
 *
 * @example
 * capability(devPartsCapability, {
 *   get_parts_resource_objects_limit: 4,
 *   set_parts_resource_objects_limit: 4,
 * });
 *
 * @throws {UsageError} BAD_ARGUMENT for an id that no capability can have.
 */
export function capability<const F extends Fields>(
  type: CapabilityType<F>,
  shown: Partial<StructValue<F>>,
  apply?: NonNullable<Capability['apply']>,
): Capability {
  const { id, layout } = type;
  if (!Number.isInteger(id) || id < 0 || id >= capabilityIdsEnd) {
    throw new UsageError('BAD_ARGUMENT', `a capability cannot have the id ${id}`);
  }
  const value = layout.encode(shown);
  return {
    id,
    name: layout.name,
    value,
    mistake: (wanted) => capabilityMistake(type, new DataView(wanted.buffer), new DataView(value.buffer)),
    ...(apply && { apply }),
  };
}

/** The capabilities of a device, and what its driver has made of them. */
export class Capabilities {
  readonly #all = new Map<number, Capability>();
  readonly #driver = new Map<number, Uint8Array<ArrayBuffer>>();

  /** @throws {UsageError} BAD_ARGUMENT when two have the same id. */
  constructor(all: readonly Capability[]) {
    for (const one of all) {
      const other = this.#all.get(one.id);
      if (other !== undefined) {
        throw new UsageError('BAD_ARGUMENT', `${one.name} and ${other.name} are both capability ${one.id}`);
      }
      this.#all.set(one.id, one);
    }
  }

  get ids(): readonly number[] {
    return [...this.#all.keys()];
  }

  /** @throws {AdminRefusal} ENXIO for an id that the device does not show. */
  get(id: number): Capability {
    const found = this.#all.get(id);
    if (found === undefined) throw notThere(`there is no capability ${id}`);
    return found;
  }

  /**
   * What the driver has set; all zero until then, so that it has no resource objects.
   *
   * @spec 2.12.1.2.4 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device and driver capabilities
   */
  driverValue(id: number): DataView {
    const length = this.#all.get(id)?.value.length ?? 0;
    return new DataView((this.#driver.get(id) ?? new Uint8Array(length)).buffer);
  }

  /** @throws {AdminRefusal} EINVAL for a value that goes beyond the device's. */
  check(id: number, wanted: Uint8Array<ArrayBuffer>): void {
    const field = this.get(id).mistake(wanted);
    if (field !== undefined) throw invalidField(`${this.get(id).name}.${field} goes beyond the device's`);
  }

  /** @throws {AdminRefusal} when the device cannot live with it. */
  set(id: number, wanted: Uint8Array<ArrayBuffer>): void {
    this.get(id).apply?.(wanted);
    this.#driver.set(id, wanted);
  }

  /** The device was reset. */
  reset(): void {
    this.#driver.clear();
    for (const one of this.#all.values()) one.apply?.(undefined);
  }

  /** What the driver has set, by id. */
  entries(): (readonly [id: number, value: Uint8Array<ArrayBuffer>])[] {
    return [...this.#driver];
  }
}
