import { virtio_admin_cmd_cap_get_data } from '../../spec/admin.ts';
import { encodeBitmap } from '../../spec/bitmap.ts';
import type { AdminCommands } from './call.ts';
import type { Capabilities } from './capabilities.ts';
import type { ResourceObjects } from './resource-objects.ts';

/**
 * The commands about capabilities. Only the self group has them.
 *
 * @spec 2.12.1.2.4 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device and driver capabilities
 */
export function capabilityCommands(capabilities: Capabilities, objects: ResourceObjects): AdminCommands {
  return {
    CAP_ID_LIST_QUERY: { run: () => encodeBitmap(capabilities.ids) },
    DEVICE_CAP_GET: {
      run: ({ data }) => capabilities.get(data.struct(virtio_admin_cmd_cap_get_data).id).value,
    },
    DRIVER_CAP_SET: {
      run({ data }) {
        const { id } = data.struct(virtio_admin_cmd_cap_get_data);
        const wanted = data.bytes(capabilities.get(id).value.length);
        capabilities.check(id, wanted);
        objects.checkCapability(id, new DataView(wanted.buffer));
        capabilities.set(id, wanted);
        return undefined;
      },
    },
  };
}
