import { PeerError, UsageError } from '../../errors.ts';
import {
  deviceMode,
  devPartsObject,
  devPartsObjectType,
  virtio_admin_cmd_dev_mode_set_data,
  virtio_admin_cmd_resource_obj_cmd_hdr,
} from '../../spec/admin.ts';
import {
  dev_parts_request,
  partsMetadata,
  partsWanted,
  virtio_admin_cmd_dev_parts_metadata_result,
  virtio_dev_part_hdr,
} from '../../spec/device-parts.ts';
import { joined } from '../../spec/joined.ts';
import type { AdminGroup } from './group.ts';
import {
  decodeHeaders,
  decodeParts,
  encodeNames,
  encodeParts,
  type PartCopy,
  type PartName,
} from './parts.ts';
import type { DriverObjects, ResourceHandle } from './resource-objects.ts';
import { zeroExtended } from './zero-extended.ts';

/** The most bytes that a device's parts may need. */
const mostPartsBytes = 16 * 2 ** 20;

const metadataSize = virtio_admin_cmd_dev_parts_metadata_result.size;

/**
 * A member of a group, as the driver of its owner sees it: it can be stopped, and its parts read and set.
 * The driver must have set the capability VIRTIO_DEV_PARTS_CAP before.
 *
 * @spec 2.12.1.4.4.2 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device parts
 */
export class AdminMember {
  /** The member identifier. */
  readonly id: number;
  readonly group: AdminGroup;
  readonly #objects: DriverObjects;
  #stopped = false;

  /** @internal */
  constructor(group: AdminGroup, id: number, objects: DriverObjects) {
    this.group = group;
    this.id = id;
    this.#objects = objects;
  }

  /** Stops the device; when this settles, it has given back all buffers that it saw. */
  async stop(): Promise<void> {
    await this.#setMode(deviceMode.STOPPED);
    this.#stopped = true;
  }

  /** Lets the device go on, with the parts that were set. */
  async resume(): Promise<void> {
    await this.#setMode(0);
    this.#stopped = false;
  }

  /** Which parts the device has. */
  partNames(): Promise<(PartName & { readonly length: number })[]> {
    return this.#with('GET', async (object) => {
      const count = await this.#metadata(object, 'COUNT');
      const room = metadataSize + bounded(count * virtio_dev_part_hdr.size);
      const list = await this.#metadataBytes(object, 'LIST', room);
      const listed = virtio_admin_cmd_dev_parts_metadata_result.field.count.get(
        zeroExtended(list, metadataSize),
      );
      return decodeHeaders(list.subarray(metadataSize), listed);
    });
  }

  /**
   * The device's parts: those that are named and that it has, or all.
   *
   * @throws {PeerError} BAD_RESPONSE when they are not as the device says, or larger than 16 MiB.
   */
  parts(names?: readonly PartName[]): Promise<PartCopy[]> {
    return this.#with('GET', async (object) => {
      const room = bounded(await this.#metadata(object, 'SIZE'));
      const type = names === undefined ? partsWanted.ALL : partsWanted.SELECTED;
      const data = joined(headerOf(object), dev_parts_request.encode({ type }), encodeNames(names ?? []));
      return decodeParts(await this.group.send({ name: 'DEV_PARTS_GET', memberId: this.id, data, room }));
    });
  }

  /**
   * Sets parts of a device that was stopped; they take effect when it is resumed.
   *
   * @throws {UsageError} BAD_STATE when it was not stopped.
   */
  async setParts(parts: readonly PartCopy[]): Promise<void> {
    if (!this.#stopped) throw new UsageError('BAD_STATE', 'parts are set of a device that is stopped');
    await this.#with('SET', async (object) => {
      const data = joined(headerOf(object), encodeParts(parts));
      await this.group.send({ name: 'DEV_PARTS_SET', memberId: this.id, data });
    });
  }

  async #setMode(flags: number): Promise<void> {
    const data = virtio_admin_cmd_dev_mode_set_data.encode({ flags });
    await this.group.send({ name: 'DEV_MODE_SET', memberId: this.id, data });
  }

  /** Works with a device parts object that is there as long as it is needed. */
  async #with<R>(
    purpose: keyof typeof devPartsObjectType,
    work: (object: ResourceHandle<typeof devPartsObject.layout.codecs>) => Promise<R>,
  ): Promise<R> {
    const target = { group: this.group, memberId: this.id };
    const id = this.#objects.freeId(devPartsObject.type);
    const value = { type: devPartsObjectType[purpose] };
    const object = await this.#objects.create(target, devPartsObject, id, { value });
    try {
      return await work(object);
    } finally {
      await object.destroy();
    }
  }

  async #metadata(object: ResourceHandle, kind: 'SIZE' | 'COUNT'): Promise<number> {
    const answer = zeroExtended(await this.#metadataBytes(object, kind, metadataSize), metadataSize);
    return virtio_admin_cmd_dev_parts_metadata_result.field.count.get(answer);
  }

  #metadataBytes(
    object: ResourceHandle,
    kind: keyof typeof partsMetadata,
    room: number,
  ): Promise<Uint8Array> {
    const data = joined(headerOf(object), dev_parts_request.encode({ type: partsMetadata[kind] }));
    return this.group.send({ name: 'DEV_PARTS_METADATA_GET', memberId: this.id, data, room });
  }
}

const headerOf = ({ reference }: ResourceHandle): Uint8Array =>
  virtio_admin_cmd_resource_obj_cmd_hdr.encode(reference);

/** A length that a device wants, when it is one that can be. */
function bounded(length: number): number {
  if (length <= mostPartsBytes) return length;
  throw new PeerError('BAD_RESPONSE', `the device has parts of ${length} bytes`);
}
