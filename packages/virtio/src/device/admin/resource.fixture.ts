import {
  virtio_admin_cmd_cap_get_data,
  virtio_admin_cmd_resource_obj_create_data,
} from '../../spec/admin.ts';
import { joined } from '../../spec/joined.ts';
import type { Fields, StructValue } from '../../spec/layout.ts';
import type { ObjectReference, ResourceObjectKind } from '../../spec/resource-object.ts';
import {
  type Answer,
  type Owner,
  type offeredRoom,
  type RawCommand,
  roomCapability,
} from './owner.fixture.ts';

/** Sends a resource object command as it stands. */
export const sendObject = (
  owner: Owner,
  opcode: 'RESOURCE_OBJ_CREATE' | 'RESOURCE_OBJ_MODIFY' | 'RESOURCE_OBJ_QUERY' | 'RESOURCE_OBJ_DESTROY',
  reference: ObjectReference,
  data: Uint8Array = new Uint8Array(),
  rest: Partial<RawCommand> = {},
): Promise<Answer> =>
  owner.send({
    opcode,
    data: joined(virtio_admin_cmd_resource_obj_create_data.encode(reference), data),
    ...rest,
  });

/** Creates an object, whatever the device will say. */
export const createObject = <F extends Fields>(
  owner: Owner,
  { type, layout }: ResourceObjectKind<F>,
  id: number,
  value: Partial<StructValue<F>>,
  tail: Uint8Array = new Uint8Array(),
): Promise<Answer> =>
  sendObject(owner, 'RESOURCE_OBJ_CREATE', { type, id }, joined(layout.encode(value), tail));

/** Tells the device how much room the driver uses. */
export const setRoom = (owner: Owner, value: Partial<typeof offeredRoom>): Promise<Answer> =>
  owner.send({
    opcode: 'DRIVER_CAP_SET',
    data: joined(
      virtio_admin_cmd_cap_get_data.encode({ id: roomCapability.id }),
      roomCapability.layout.encode(value),
    ),
  });
