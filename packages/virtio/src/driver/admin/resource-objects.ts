import { UsageError } from '../../errors.ts';
import {
  virtio_admin_cmd_resource_obj_cmd_hdr,
  virtio_admin_cmd_resource_obj_create_data,
} from '../../spec/admin.ts';
import { joined } from '../../spec/joined.ts';
import type { Fields, StructValue } from '../../spec/layout.ts';
import type { ObjectReference, ResourceObjectKind } from '../../spec/resource-object.ts';
import type { AdminGroup } from './group.ts';
import { zeroExtended } from './zero-extended.ts';

/** For whom an object is created: the owner itself, or a member of a group that it owns. */
export interface ObjectTarget {
  readonly group: AdminGroup;
  /** 0 in the self group. */
  readonly memberId: number;
}

/** What an object is made of. */
export interface ObjectContent<F extends Fields> {
  readonly value: Partial<StructValue<F>>;
  /** What follows the fixed fields. */
  readonly tail?: Uint8Array;
  readonly flags?: bigint;
}

interface Known {
  readonly kind: ResourceObjectKind;
  readonly id: number;
  value: StructValue<Fields>;
  dependsOn: readonly ObjectReference[];
}

/**
 * The resource objects that a driver has created. What the specification forbids a driver is refused here,
 * before the device hears of it.
 *
 * @spec 2.12.1.3.6 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device resource objects
 */
export class DriverObjects {
  readonly #known = new Map<string, Known>();
  readonly #capability: (id: number) => DataView | undefined;

  /** `capability` gives what the driver has set a capability to. */
  constructor(capability: (id: number) => DataView | undefined) {
    this.#capability = capability;
  }

  /**
   * Creates an object.
   *
   * @throws {UsageError} BAD_STATE when its capability was not set, the id is in use, or the limit is reached;
   * BAD_ARGUMENT for an id beyond the limit.
   * @throws {AdminError} when the device does not create it.
   */
  async create<F extends Fields>(
    target: ObjectTarget,
    kind: ResourceObjectKind<F>,
    id: number,
    content: ObjectContent<F>,
  ): Promise<ResourceHandle<F>> {
    const capability = this.#capability(kind.capability);
    if (capability === undefined) {
      throw new UsageError('BAD_STATE', `${kind.name} objects need capability ${kind.capability} to be set`);
    }
    const limit = kind.limit(capability);
    if (!(id >= 0 && id < limit)) throw new UsageError('BAD_ARGUMENT', `${kind.name} ids are below ${limit}`);
    const key = keyOf({ type: kind.type, id });
    if (this.#known.has(key))
      throw new UsageError('BAD_STATE', `there is a ${kind.name} object ${id} already`);
    const bytes = encode(kind, content);
    const known = knownOf(kind, id, bytes);
    const together = [...this.#ofKind(kind.type), known];
    if (known.kind.fits?.(capability, together) === false) {
      throw new UsageError('BAD_STATE', `the driver has all the ${kind.name} objects that it may have`);
    }
    this.#known.set(key, known);
    try {
      await sendObject(target, 'RESOURCE_OBJ_CREATE', { type: kind.type, id }, content.flags, bytes);
    } catch (error) {
      this.#known.delete(key);
      throw error;
    }
    return new ResourceHandle(this, target, kind, id);
  }

  /** @internal */
  async modify<F extends Fields>(handle: ResourceHandle<F>, content: ObjectContent<F>): Promise<void> {
    const known = this.#exists(handle);
    const bytes = encode(handle.kind, content);
    await sendObject(handle.target, 'RESOURCE_OBJ_MODIFY', handle.reference, content.flags, bytes);
    Object.assign(known, knownOf(handle.kind, handle.id, bytes));
  }

  /** @internal */
  async query<F extends Fields>(handle: ResourceHandle<F>, room: number): Promise<Uint8Array> {
    this.#exists(handle);
    const data = virtio_admin_cmd_resource_obj_create_data.encode(handle.reference);
    const { group, memberId } = handle.target;
    return group.send({ name: 'RESOURCE_OBJ_QUERY', memberId, data, room });
  }

  /** @internal */
  async destroy(handle: ResourceHandle): Promise<void> {
    this.#exists(handle);
    const { group, memberId } = handle.target;
    const { type, id } = handle.reference;
    for (const { dependsOn, ...other } of this.#known.values()) {
      if (dependsOn.some((needed) => needed.type === type && needed.id === id)) {
        throw new UsageError('BAD_STATE', `${other.kind.name} object ${other.id} depends on it`);
      }
    }
    const data = virtio_admin_cmd_resource_obj_cmd_hdr.encode(handle.reference);
    await group.send({ name: 'RESOURCE_OBJ_DESTROY', memberId, data });
    this.#known.delete(keyOf(handle.reference));
  }

  /**
   * A capability is to be set.
   *
   * @throws {UsageError} BAD_STATE while objects exist that it limits.
   */
  checkCapability(id: number): void {
    for (const { kind } of this.#known.values()) {
      if (kind.capability === id) {
        throw new UsageError(
          'BAD_STATE',
          `capability ${id} cannot be set while there are ${kind.name} objects`,
        );
      }
    }
  }

  /** The lowest id of a type that no object has. */
  freeId(type: number): number {
    const used = new Set(this.#ofKind(type).map(({ id }) => id));
    let id = 0;
    while (used.has(id)) id++;
    return id;
  }

  #ofKind(type: number): Known[] {
    return [...this.#known.values()].filter(({ kind }) => kind.type === type);
  }

  #exists({ reference, kind }: ResourceHandle): Known {
    const known = this.#known.get(keyOf(reference));
    if (known === undefined) throw new UsageError('BAD_STATE', `the ${kind.name} object was destroyed`);
    return known;
  }
}

/** A resource object that the driver has created. */
export class ResourceHandle<F extends Fields = Fields> {
  readonly id: number;
  /** @internal */
  readonly kind: ResourceObjectKind<F>;
  /** @internal */
  readonly target: ObjectTarget;
  readonly #objects: DriverObjects;

  /** @internal */
  constructor(objects: DriverObjects, target: ObjectTarget, kind: ResourceObjectKind<F>, id: number) {
    this.#objects = objects;
    this.target = target;
    this.kind = kind;
    this.id = id;
  }

  get reference(): ObjectReference {
    return { type: this.kind.type, id: this.id };
  }

  /** Gives the object other content. */
  modify(content: ObjectContent<F>): Promise<void> {
    return this.#objects.modify(this, content);
  }

  /** The object as the device has it; `mostTail` bytes behind the fixed fields, at most. */
  async query(mostTail = 0): Promise<{ readonly value: StructValue<F>; readonly tail: Uint8Array }> {
    const { layout } = this.kind;
    const bytes = await this.#objects.query(this, layout.size + mostTail);
    return { value: layout.read(zeroExtended(bytes, layout.size)), tail: bytes.slice(layout.size) };
  }

  destroy(): Promise<void> {
    return this.#objects.destroy(this);
  }
}

const keyOf = ({ type, id }: ObjectReference): string => `${type}:${id}`;

function encode<F extends Fields>(
  { layout }: ResourceObjectKind<F>,
  content: ObjectContent<F>,
): Uint8Array<ArrayBuffer> {
  return joined(layout.encode(content.value), content.tail ?? new Uint8Array());
}

function knownOf<F extends Fields>(
  kind: ResourceObjectKind<F>,
  id: number,
  bytes: Uint8Array<ArrayBuffer>,
): Known {
  const value = kind.layout.read(new DataView(bytes.buffer));
  return { kind, id, value, dependsOn: kind.dependsOn?.(value, bytes.subarray(kind.layout.size)) ?? [] };
}

async function sendObject(
  { group, memberId }: ObjectTarget,
  name: 'RESOURCE_OBJ_CREATE' | 'RESOURCE_OBJ_MODIFY',
  reference: ObjectReference,
  flags: bigint | undefined,
  bytes: Uint8Array,
): Promise<void> {
  const header = virtio_admin_cmd_resource_obj_create_data.encode({ ...reference, flags: flags ?? 0n });
  const data = joined(header, bytes);
  await group.send({ name, memberId, data });
}
