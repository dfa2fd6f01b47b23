import { UsageError } from '../../errors.ts';
import { capabilityIdsEnd, virtio_admin_cmd_cap_get_data } from '../../spec/admin.ts';
import { decodeBitmap } from '../../spec/bitmap.ts';
import { type CapabilityType, capabilityMistake } from '../../spec/capability.ts';
import { joined } from '../../spec/joined.ts';
import type { Fields, StructValue } from '../../spec/layout.ts';
import type { AdminGroup } from './group.ts';
import { zeroExtended } from './zero-extended.ts';

/**
 * What a device can do, and what its driver makes of it.
 *
 * @spec 2.12.1.2.5 driver: Basic Facilities of a Virtio Device / Device groups / Group administration commands / Device and driver capabilities
 */
export class DeviceCapabilities {
  readonly #group: AdminGroup;
  readonly #set = new Map<number, DataView>();
  /** Refuses a value that objects stand in the way of. */
  readonly #checkObjects: (id: number) => void;

  constructor(self: AdminGroup, checkObjects: (id: number) => void) {
    this.#group = self;
    this.#checkObjects = checkObjects;
  }

  /** The ids of what the device has. */
  async ids(): Promise<number[]> {
    const room = capabilityIdsEnd / 8;
    return decodeBitmap(await this.#group.send({ name: 'CAP_ID_LIST_QUERY', memberId: 0, room }));
  }

  /**
   * What the device shows; with up to `mostTail` bytes behind the fixed fields.
   *
   * @throws {AdminError} ENXIO when it does not have the capability.
   */
  async get<F extends Fields>(type: CapabilityType<F>, mostTail = 0): Promise<StructValue<F>> {
    return type.layout.read(await this.#shown(type, mostTail));
  }

  /**
   * Tells the device what the driver will use of a capability. Fields that are not given are 0.
   *
   * @throws {UsageError} BAD_ARGUMENT for what the device does not show; BAD_STATE while objects that the
   * capability limits exist.
   * @throws {AdminError} when the device refuses it.
   */
  async set<F extends Fields>(type: CapabilityType<F>, value: Partial<StructValue<F>>): Promise<void> {
    const wanted = type.layout.encode(value);
    const view = new DataView(wanted.buffer);
    const shown = await this.#shown(type, wanted.length - type.layout.size);
    const field = capabilityMistake(type, view, shown);
    if (field !== undefined) {
      throw new UsageError('BAD_ARGUMENT', `${type.layout.name}.${field} goes beyond the device's`);
    }
    this.#checkObjects(type.id);
    const data = joined(virtio_admin_cmd_cap_get_data.encode({ id: type.id }), wanted);
    await this.#group.send({ name: 'DRIVER_CAP_SET', memberId: 0, data });
    this.#set.set(type.id, view);
  }

  /** What was set; `undefined` before that. */
  current(id: number): DataView | undefined {
    return this.#set.get(id);
  }

  async #shown(
    { id, layout }: { id: number; layout: { size: number } },
    mostTail: number,
  ): Promise<DataView> {
    const data = virtio_admin_cmd_cap_get_data.encode({ id });
    const room = layout.size + mostTail;
    const shown = await this.#group.send({ name: 'DEVICE_CAP_GET', memberId: 0, data, room });
    return zeroExtended(shown, Math.max(shown.length, layout.size));
  }
}
