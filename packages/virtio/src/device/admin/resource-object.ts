import type { Fields, StructValue } from '../../spec/layout.ts';
import type { ObjectReference, ResourceObjectKind } from '../../spec/resource-object.ts';
import type { Capability } from './capabilities.ts';
import type { GroupMember } from './group.ts';

/** A resource object that exists. */
export interface ResourceObject<F extends Fields = Fields> extends ObjectReference {
  /** The group and the member that it was created for; the self group has member 0. */
  readonly groupType: number;
  readonly memberId: number;
  readonly member: GroupMember | undefined;
  /** As the driver gave them; the type says what they mean. */
  readonly flags: bigint;
  /** Its data as the driver last gave it: the layout's fields, and what follows them. */
  readonly value: StructValue<F>;
  readonly tail: Uint8Array;
}

/** A type of resource objects that a device lets its driver create (2.12.1.3). */
export interface ResourceObjectType<F extends Fields = Fields> extends ResourceObjectKind<F> {
  /** Bytes that may follow the fixed fields; 0 unless told. What the driver gives beyond is not looked at. */
  readonly mostTail?: number;
  /** The groups for whose members it can be created; the self group alone unless told. */
  readonly groupTypes?: readonly number[];
  /**
   * Objects of this type are asked for.
   *
   * @throws {AdminRefusal} when there are none as yet, since the driver has not set all that it must.
   */
  permit?(): void;
  /**
   * The object is about to be created or modified; `before` is what it was.
   *
   * @throws {AdminRefusal} when it cannot be; nothing has changed then.
   */
  apply?(object: ResourceObject<F>, before: ResourceObject<F> | undefined): void;
  /** The object was destroyed, or the device reset. */
  destroyed?(object: ResourceObject<F>): void;
}

/** What a device type adds to the administration commands: for drivers that use them. */
export interface DeviceResources {
  readonly capabilities: readonly Capability[];
  readonly objects: readonly ResourceObjectType[];
}
