import type { Fields, Struct, StructValue } from './layout.ts';

/** Which resource object: ids are unique within a type. */
export interface ObjectReference {
  readonly type: number;
  readonly id: number;
}

/** A type of resource objects (2.12.1.3), as both sides must know it. */
export interface ResourceObjectKind<F extends Fields = Fields> {
  /** The resource object type. */
  readonly type: number;
  /** For messages. */
  readonly name: string;
  /** The fixed fields of its data. */
  readonly layout: Struct<F>;
  /** The id of the capability that limits it. */
  readonly capability: number;
  /**
   * The limit in the driver's capability: ids are below it, and there are at most so many objects. The
   * capability is all zero until the driver has set it.
   */
  limit(capability: DataView): number;
  /** A narrower limit: whether these can all be under the capability. */
  fits?(capability: DataView, objects: readonly { readonly value: StructValue<F> }[]): boolean;
  /** The objects that it depends on, which cannot be modified or destroyed as long as it is there. */
  dependsOn?(value: StructValue<F>, tail: Uint8Array): readonly ObjectReference[];
}
