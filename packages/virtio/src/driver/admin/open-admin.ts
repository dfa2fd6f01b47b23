import { PeerError, UsageError } from '../../errors.ts';
import { groupType } from '../../spec/admin.ts';
import type { Fields } from '../../spec/layout.ts';
import type { ResourceObjectKind } from '../../spec/resource-object.ts';
import type { OpenDevice } from '../open-device.ts';
import { DeviceCapabilities } from './capabilities.ts';
import { AdminChannel } from './channel.ts';
import { AdminGroup } from './group.ts';
import { AdminMember } from './member.ts';
import { DriverObjects, type ObjectContent, type ResourceHandle } from './resource-objects.ts';

/** The administration of an owner device: groups, capabilities, resource objects. */
export class OpenAdmin {
  /** The group of the owner alone. */
  readonly self: AdminGroup;
  readonly capabilities: DeviceCapabilities;
  readonly #channel: AdminChannel;
  readonly #objects: DriverObjects;
  readonly #groups = new Map<number, Promise<AdminGroup | undefined>>();

  /** @internal Use {@link openAdmin}. */
  constructor(channel: AdminChannel, self: AdminGroup) {
    this.#channel = channel;
    this.self = self;
    this.#objects = new DriverObjects((id) => this.capabilities.current(id));
    this.capabilities = new DeviceCapabilities(self, (id) => this.#objects.checkCapability(id));
    this.#groups.set(self.type, Promise.resolve(self));
  }

  /** A group that the device owns; `undefined` when it has none of the type now. */
  group(type: number): Promise<AdminGroup | undefined> {
    const asked = this.#groups.get(type) ?? AdminGroup.open(this.#channel, type);
    this.#groups.set(type, asked);
    const forget = (): boolean => this.#groups.delete(type);
    // A group that is not there yet may come: it is asked for again.
    asked.then((found) => found ?? forget(), forget);
    return asked;
  }

  /**
   * A virtual function of the device, whose parts can be read and set.
   *
   * @throws {UsageError} BAD_STATE when the device has no SR-IOV group.
   */
  async virtualFunction(id: number): Promise<AdminMember> {
    const group = await this.group(groupType.SR_IOV);
    if (group === undefined) throw new UsageError('BAD_STATE', 'the device has no SR-IOV group');
    return new AdminMember(group, id, this.#objects);
  }

  /** Creates a resource object of the device itself, with the lowest id that is free unless told. */
  createObject<F extends Fields>(
    kind: ResourceObjectKind<F>,
    content: ObjectContent<F>,
    id: number = this.#objects.freeId(kind.type),
  ): Promise<ResourceHandle<F>> {
    return this.#objects.create({ group: this.self, memberId: 0 }, kind, id, content);
  }
}

/**
 * Opens the administration of a device that was opened with VIRTIO_F_ADMIN_VQ.
 *
 * @example
 * const device = await open(transport, blk, {
 *   features: [],
 *   reserved: [...defaultAcceptedFeatures, 'ADMIN_VQ'],
 * });
 * const admin = await openAdmin(device);
 *
 * @throws {UsageError} NOT_NEGOTIATED without VIRTIO_F_ADMIN_VQ.
 * @throws {PeerError} QUEUE_MISSING when the device has no administration virtqueue all the same.
 * @spec 2.12.1.6 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands
 */
export async function openAdmin(device: OpenDevice): Promise<OpenAdmin> {
  if (!device.has('ADMIN_VQ')) throw new UsageError('NOT_NEGOTIATED', 'VIRTIO_F_ADMIN_VQ was not negotiated');
  const [queue] = device.adminQueues;
  if (queue === undefined) throw new PeerError('QUEUE_MISSING', 'the device has no administration virtqueue');
  const channel = new AdminChannel(queue);
  const self = await AdminGroup.open(channel, groupType.SELF);
  if (self === undefined) throw new PeerError('BAD_RESPONSE', 'the device has no self group');
  return new OpenAdmin(channel, self);
}
