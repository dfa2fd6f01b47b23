import {
  commonResourceObject,
  deviceMode,
  devPartsObjectType,
  virtio_admin_cmd_dev_mode_set_data,
  virtio_admin_cmd_resource_obj_cmd_hdr,
  virtio_resource_obj_dev_parts,
} from '../../spec/admin.ts';
import {
  dev_parts_request,
  partsMetadata,
  partsWanted,
  virtio_admin_cmd_dev_parts_metadata_result,
  virtio_dev_part_hdr,
} from '../../spec/device-parts.ts';
import { joined } from '../../spec/joined.ts';
import type { AdminCall, AdminCommands } from './call.ts';
import { type DevicePart, encodeHeader, partKey, partSize } from './device-part.ts';
import { readGivenParts } from './given-parts.ts';
import type { GroupMember } from './group.ts';
import { AdminRefusal, invalidField } from './refusal.ts';
import type { ResourceObjects } from './resource-objects.ts';

/** The most headers that DEV_PARTS_GET looks at. */
const mostHeaders = 0x1_0000;

/**
 * The commands about device parts.
 *
 * @spec 2.12.1.4.4.1 device: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
 */
export function partsCommands(objects: ResourceObjects): AdminCommands {
  const memberFor = (call: AdminCall, purpose: keyof typeof devPartsObjectType): GroupMember => {
    const { type, id } = call.data.struct(virtio_admin_cmd_resource_obj_cmd_hdr);
    if (type !== commonResourceObject.DEV_PARTS) {
      throw invalidField(`resource objects of type ${type} have no device parts`);
    }
    const { bytes } = objects.get(call, { type, id });
    const made = virtio_resource_obj_dev_parts.field.type.get(new DataView(bytes.buffer));
    if (made !== devPartsObjectType[purpose])
      throw invalidField(`device parts object ${id} is not to ${purpose}`);
    return memberOf(call);
  };
  return {
    DEV_PARTS_METADATA_GET: {
      run(call) {
        const parts = memberFor(call, 'GET').parts();
        const { type } = call.data.struct(dev_parts_request);
        return metadata(type, parts, call.room);
      },
    },
    DEV_PARTS_GET: {
      run(call) {
        const parts = memberFor(call, 'GET').parts();
        const { type } = call.data.struct(dev_parts_request);
        if (type === partsWanted.ALL) return encodeParts(parts);
        if (type !== partsWanted.SELECTED) throw invalidField(`device parts cannot be had by ${type}`);
        return encodeParts(selected(call, parts));
      },
    },
    DEV_PARTS_SET: {
      run(call) {
        const member = memberFor(call, 'SET');
        if (!member.stopped) throw invalidField('parts are set of a device that is not stopped');
        member.setParts(readGivenParts(call.data, member.parts()));
        return undefined;
      },
    },
    DEV_MODE_SET: {
      run(call) {
        const { flags } = call.data.struct(virtio_admin_cmd_dev_mode_set_data);
        if ((flags & ~deviceMode.STOPPED) !== 0) throw invalidField(`there is no mode ${flags}`);
        const member = memberOf(call);
        if (flags === deviceMode.STOPPED) return member.stop().then(() => undefined);
        member.resume();
        return undefined;
      },
    },
  };
}

function memberOf({ member }: AdminCall): GroupMember {
  if (member === undefined) throw new AdminRefusal('EINVAL', 'INVALID_MEMBER', 'the member has no parts');
  return member;
}

const encodeParts = (parts: readonly DevicePart[]): Uint8Array =>
  joined(...parts.flatMap((part) => [encodeHeader(part), part.value]));

function metadata(type: number, parts: readonly DevicePart[], room: number): Uint8Array {
  const result = (count: number): Uint8Array => virtio_admin_cmd_dev_parts_metadata_result.encode({ count });
  if (type === partsMetadata.COUNT) return result(parts.length);
  if (type === partsMetadata.SIZE) return result(parts.reduce((sum, part) => sum + partSize(part), 0));
  if (type !== partsMetadata.LIST) throw invalidField(`there is no metadata ${type}`);
  const list = joined(result(parts.length), ...parts.map(encodeHeader));
  if (list.length > room) {
    const message = `a list of ${list.length} bytes does not fit in ${room}`;
    throw new AdminRefusal('ENOMEM', 'INVALID_COMMAND', message);
  }
  return list;
}

/** The parts that the driver names and the device has, in the device's order. */
function selected({ data }: AdminCall, parts: readonly DevicePart[]): DevicePart[] {
  const wanted = new Set<string>();
  for (let count = 0; count < mostHeaders && data.remaining >= virtio_dev_part_hdr.size; count++) {
    const { part_type, selector } = data.struct(virtio_dev_part_hdr);
    wanted.add(partKey(part_type, selector));
  }
  return parts.filter(({ type, selector }) => wanted.has(partKey(type, selector)));
}
