import { devPartsCapability, devPartsObject, devPartsObjectType, groupType } from '../../spec/admin.ts';
import { type Capability, capability } from './capabilities.ts';
import { invalidField } from './refusal.ts';
import type { ResourceObjectType } from './resource-object.ts';

/** How many device parts objects a driver may have at once; each at most 255. */
export interface PartsLimits {
  /** Objects to get parts with. */
  readonly get: number;
  /** Objects to set parts with. */
  readonly set: number;
}

/** The capability VIRTIO_DEV_PARTS_CAP. */
export const partsCapability = ({ get, set }: PartsLimits): Capability =>
  capability(devPartsCapability, {
    get_parts_resource_objects_limit: get,
    set_parts_resource_objects_limit: set,
  });

/** Device parts objects are for members of the groups that have device parts. */
export const partsObject: ResourceObjectType<typeof devPartsObject.layout.codecs> = {
  ...devPartsObject,
  groupTypes: [groupType.SR_IOV],
  apply({ value }) {
    if (value.type !== devPartsObjectType.GET && value.type !== devPartsObjectType.SET) {
      throw invalidField(`device parts objects are to get or to set, not ${value.type}`);
    }
  },
};
