import { invalidField } from '../../../device/admin/refusal.ts';
import { le32, struct } from '../../../spec/layout.ts';
import type { PciFunction } from '../device.ts';
import type { PciFunctionState } from '../options.ts';
import { virtio_pci_common_cfg } from '../registers.ts';
import type { PartKind } from './part-kind.ts';
import { vectorOf } from './vector.ts';

/** The `part_type` VIRTIO_DEV_PART_PCI_COMMON_CFG. */
export const commonConfigPart = 0x102;

/** Tells which field a part is. */
const pci_common_cfg = struct('pci_common_cfg', { offset: le32, reserved: le32 });

const { field } = virtio_pci_common_cfg;

/** A field of the common configuration that is a part of its own. */
interface FieldPart {
  readonly offset: number;
  readonly size: number;
  read(state: PciFunctionState, pciFunction: PciFunction): number;
  take(state: PciFunctionState, value: number, pciFunction: PciFunction): PciFunctionState;
}

/** The fields that are no queue's, and in no other part. */
const fields: readonly FieldPart[] = [
  {
    ...field.device_feature_select,
    read: (state) => state.deviceFeatureSelect,
    take: (state, deviceFeatureSelect) => ({ ...state, deviceFeatureSelect }),
  },
  {
    ...field.driver_feature_select,
    read: (state) => state.driverFeatureSelect,
    take: (state, driverFeatureSelect) => ({ ...state, driverFeatureSelect }),
  },
  {
    ...field.config_msix_vector,
    read: (state) => state.configVector,
    take: (state, vector) => ({ ...state, configVector: vectorOf(state, vector) }),
  },
  {
    ...field.num_queues,
    read: (_, { core }) => core.adminQueueIndex,
    take(state, count, { core }) {
      if (count !== core.adminQueueIndex) throw invalidField(`the device has no ${count} queues`);
      return state;
    },
  },
  {
    ...field.config_generation,
    read: (state) => state.generation,
    take: (state, generation) => ({ ...state, generation }),
  },
  {
    ...field.queue_select,
    read: (state) => state.queueSelect,
    take: (state, queueSelect) => ({ ...state, queueSelect }),
  },
];

export const commonConfig: PartKind = {
  type: commonConfigPart,
  read: (pciFunction, state) =>
    fields.map((one) => {
      const value = new Uint8Array(one.size);
      for (let i = 0; i < one.size; i++) value[i] = one.read(state, pciFunction) / 2 ** (8 * i);
      return { selector: pci_common_cfg.encode({ offset: one.offset }), value };
    }),
  take(pciFunction, state, value, selector) {
    const offset = pci_common_cfg.field.offset.get(selector);
    let given = 0;
    for (let i = 0; i < value.byteLength; i++) given += value.getUint8(i) * 2 ** (8 * i);
    return fields.find((one) => one.offset === offset)?.take(state, given, pciFunction) ?? state;
  },
};
