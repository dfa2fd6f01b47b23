import {
  virtio_admin_cmd_resource_obj_cmd_hdr,
  virtio_admin_cmd_resource_obj_create_data,
} from '../../spec/admin.ts';
import type { AdminCall, AdminCommands } from './call.ts';
import type { ResourceObjectType } from './resource-object.ts';
import type { ObjectData, ResourceObjects } from './resource-objects.ts';

/**
 * The commands about resource objects.
 *
 * @spec 2.12.1.3.5 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device resource objects
 */
export function objectCommands(objects: ResourceObjects): AdminCommands {
  return {
    RESOURCE_OBJ_CREATE: {
      run(call) {
        const { type, id, flags } = call.data.struct(virtio_admin_cmd_resource_obj_create_data);
        const kind = objects.typeFor(call, type);
        objects.create(call, { type, id }, objectData(call, kind, flags));
        return undefined;
      },
    },
    RESOURCE_OBJ_MODIFY: {
      run(call) {
        const { type, id, flags } = call.data.struct(virtio_admin_cmd_resource_obj_create_data);
        objects.get(call, { type, id });
        const kind = objects.typeFor(call, type);
        objects.modify(call, { type, id }, objectData(call, kind, flags));
        return undefined;
      },
    },
    RESOURCE_OBJ_QUERY: {
      run(call) {
        const { type, id } = call.data.struct(virtio_admin_cmd_resource_obj_create_data);
        return objects.get(call, { type, id }).bytes;
      },
    },
    RESOURCE_OBJ_DESTROY: {
      run(call) {
        const { type, id } = call.data.struct(virtio_admin_cmd_resource_obj_cmd_hdr);
        objects.destroy(call, { type, id });
        return undefined;
      },
    },
  };
}

/** The object's own data: all of its fixed fields, and as much behind them as its type knows. */
function objectData(
  { data }: AdminCall,
  { layout, mostTail = 0 }: ResourceObjectType,
  flags: bigint,
): ObjectData {
  const tail = Math.max(0, Math.min(mostTail, data.remaining - layout.size));
  return { flags, bytes: data.bytes(layout.size + tail) };
}
