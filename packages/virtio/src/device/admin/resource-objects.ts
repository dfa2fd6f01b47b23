import { UsageError } from '../../errors.ts';
import { groupType } from '../../spec/admin.ts';
import type { ObjectReference } from '../../spec/resource-object.ts';
import type { AdminCall } from './call.ts';
import type { Capabilities } from './capabilities.ts';
import { AdminRefusal, busy, exhausted, invalidField, notThere } from './refusal.ts';
import type { ResourceObject, ResourceObjectType } from './resource-object.ts';

/** For whom an object is, or is asked for. */
export type ObjectOwner = Pick<AdminCall, 'groupType' | 'memberId' | 'member'>;

/** What a driver gives to create or modify an object. */
export interface ObjectData {
  readonly flags: bigint;
  /** Fixed fields, zero where the driver gave too few bytes, and what follows them. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

interface Stored extends ResourceObject {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly dependsOn: readonly ObjectReference[];
  /** Rises with every creation and modification: an object is younger than those it depends on. */
  readonly turn: number;
}

/**
 * The resource objects of a device: which exist, within which limits, and which depend on which.
 *
 * @spec 2.12.1.3.5 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device resource objects
 */
export class ResourceObjects {
  readonly #types = new Map<number, ResourceObjectType>();
  readonly #capabilities: Capabilities;
  readonly #isMember: (owner: ObjectOwner) => boolean;
  /** By type and id. */
  readonly #objects = new Map<number, Map<number, Stored>>();
  #turn = 0;

  /**
   * `isMember` tells whether the one that an object is for is still there.
   *
   * @throws {UsageError} BAD_ARGUMENT for two types of one number, or one without its capability.
   */
  constructor(
    types: readonly ResourceObjectType[],
    capabilities: Capabilities,
    isMember: (owner: ObjectOwner) => boolean,
  ) {
    this.#capabilities = capabilities;
    this.#isMember = isMember;
    for (const one of types) {
      if (this.#types.has(one.type)) {
        throw new UsageError('BAD_ARGUMENT', `two resource object types are ${one.type}`);
      }
      if (!capabilities.ids.includes(one.capability)) {
        throw new UsageError('BAD_ARGUMENT', `${one.name} objects need capability ${one.capability}`);
      }
      this.#types.set(one.type, one);
    }
  }

  /** True when objects of some type can be created in the group. */
  servesGroup(type: number): boolean {
    return [...this.#types.values()].some((one) => isFor(one, type));
  }

  /**
   * The type, when the group has it.
   *
   * @throws {AdminRefusal} EINVAL
   */
  typeFor(owner: ObjectOwner, type: number): ResourceObjectType {
    const found = this.#types.get(type);
    if (found === undefined || !isFor(found, owner.groupType)) {
      throw invalidField(`there are no resource objects of type ${type} in this group`);
    }
    found.permit?.();
    return found;
  }

  /**
   * An object of the one who asks.
   *
   * @throws {AdminRefusal} ENXIO when there is none.
   */
  get(owner: ObjectOwner, { type, id }: ObjectReference): ResourceObject & Pick<Stored, 'bytes'> {
    this.#types.get(type)?.permit?.();
    this.#forgetGone(type);
    const found = this.#objects.get(type)?.get(id);
    if (found === undefined || !belongs(found, owner)) {
      throw notThere(`there is no resource object ${id} of type ${type}`);
    }
    return found;
  }

  create(owner: ObjectOwner, { type, id }: ObjectReference, data: ObjectData): void {
    const kind = this.typeFor(owner, type);
    this.#forgetGone(type);
    const capability = this.#capabilities.driverValue(kind.capability);
    const limit = kind.limit(capability);
    if (id >= limit) throw invalidField(`${kind.name} ids are below ${limit}; ${id} is not`);
    const others = this.#of(type);
    if (others.has(id)) {
      throw new AdminRefusal('EEXIST', 'INVALID_FIELD', `there is a ${kind.name} object ${id} already`);
    }
    const made = this.#make(kind, owner, id, data);
    if (kind.fits?.(capability, [...others.values(), made]) === false) {
      throw exhausted(`the driver has all the ${kind.name} objects that it may have`);
    }
    kind.apply?.(made, undefined);
    others.set(id, made);
  }

  modify(owner: ObjectOwner, reference: ObjectReference, data: ObjectData): void {
    const before = this.get(owner, reference);
    this.#refuseIfNeeded(reference);
    const kind = this.typeFor(owner, reference.type);
    const others = this.#of(reference.type);
    const made = this.#make(kind, owner, reference.id, data);
    const together = [...others.values()].map((one) => (one.id === reference.id ? made : one));
    if (kind.fits?.(this.#capabilities.driverValue(kind.capability), together) === false) {
      throw exhausted(`the driver has all the ${kind.name} objects that it may have`);
    }
    kind.apply?.(made, before);
    others.set(reference.id, made);
  }

  destroy(owner: ObjectOwner, reference: ObjectReference): void {
    const object = this.get(owner, reference);
    this.#refuseIfNeeded(reference);
    this.#of(reference.type).delete(reference.id);
    this.#types.get(reference.type)?.destroyed?.(object);
  }

  /**
   * The driver wants another value for a capability.
   *
   * @throws {AdminRefusal} EBUSY when objects exist that it would not allow.
   * @spec 2.12.1.2.4 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device and driver capabilities
   */
  checkCapability(id: number, wanted: DataView): void {
    for (const kind of this.#types.values()) {
      if (kind.capability !== id) continue;
      this.#forgetGone(kind.type);
      const present = [...this.#of(kind.type).values()];
      const limit = kind.limit(wanted);
      const allowed = present.every((object) => object.id < limit);
      if (allowed && (present.length === 0 || kind.fits?.(wanted, present) !== false)) continue;
      throw busy(`there are ${kind.name} objects beyond the new limit`);
    }
  }

  /** The device was reset: all objects are destroyed, those that depend on others before them. */
  reset(): void {
    const all = this.entries().reverse();
    this.#objects.clear();
    for (const object of all) this.#types.get(object.type)?.destroyed?.(object);
  }

  /** Every object, and none before one that it depends on. */
  entries(): Stored[] {
    return [...this.#objects.values()]
      .flatMap((ofType) => [...ofType.values()])
      .sort((one, other) => one.turn - other.turn);
  }

  #make(kind: ResourceObjectType, owner: ObjectOwner, id: number, { flags, bytes }: ObjectData): Stored {
    const value = kind.layout.read(new DataView(bytes.buffer));
    const tail = bytes.subarray(kind.layout.size);
    const dependsOn = kind.dependsOn?.(value, tail) ?? [];
    for (const other of dependsOn) {
      if (other.type === kind.type && other.id === id) throw invalidField(`a ${kind.name} depends on itself`);
      this.get(owner, other);
    }
    const { groupType: group, memberId, member } = owner;
    const turn = this.#turn++;
    return {
      type: kind.type,
      id,
      groupType: group,
      memberId,
      member,
      flags,
      value,
      tail,
      bytes,
      dependsOn,
      turn,
    };
  }

  #refuseIfNeeded({ type, id }: ObjectReference): void {
    for (const ofType of this.#objects.values()) {
      for (const object of ofType.values()) {
        if (object.dependsOn.some((needed) => needed.type === type && needed.id === id)) {
          throw busy(`object ${object.id} of type ${object.type} depends on it`);
        }
      }
    }
  }

  #of(type: number): Map<number, Stored> {
    const found = this.#objects.get(type) ?? new Map<number, Stored>();
    this.#objects.set(type, found);
    return found;
  }

  /** Objects of members that are gone, as when a group is dissolved, are gone with them. */
  #forgetGone(type: number): void {
    const kind = this.#types.get(type);
    const ofType = this.#objects.get(type);
    if (kind?.groupTypes === undefined || ofType === undefined) return;
    for (const object of ofType.values()) {
      if (object.groupType === groupType.SELF || this.#isMember(object)) continue;
      ofType.delete(object.id);
      kind.destroyed?.(object);
    }
  }
}

const isFor = (kind: ResourceObjectType, type: number): boolean =>
  (kind.groupTypes ?? [groupType.SELF]).includes(type);

const belongs = (object: ObjectOwner, owner: ObjectOwner): boolean =>
  object.groupType === owner.groupType &&
  object.memberId === owner.memberId &&
  object.member === owner.member;
