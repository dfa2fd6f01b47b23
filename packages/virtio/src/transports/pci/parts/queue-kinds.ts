import { invalidField } from '../../../device/admin/refusal.ts';
import {
  devicePart,
  virtio_dev_part_vq_cfg,
  virtio_dev_part_vq_notify_data,
  vq_index_selector,
} from '../../../spec/device-parts.ts';
import type { PciFunctionState } from '../options.ts';
import { noVector } from '../registers.ts';
import { type PartKind, type PartValue, withQueue } from './part-kind.ts';
import { vectorOf } from './vector.ts';

type SavedQueue = PciFunctionState['core']['queues'][number];

/** One part for each queue that there is. */
export const eachQueue = (
  state: PciFunctionState,
  value: (queue: SavedQueue, index: number) => Uint8Array,
): PartValue[] =>
  state.core.queues.flatMap((queue, index) =>
    queue.maxSize === 0
      ? []
      : [{ selector: vq_index_selector.encode({ index }), value: value(queue, index) }],
  );

export const queueOf = (selector: DataView): number => vq_index_selector.field.index.get(selector);

/** An address as the function keeps it: exact, so below 2^53. */
function addressOf(address: bigint): number {
  if (address > BigInt(Number.MAX_SAFE_INTEGER)) throw invalidField(`no memory is at ${address}`);
  return Number(address);
}

export const queueConfig: PartKind = {
  type: devicePart.VQ_CFG,
  read: (_, state) =>
    eachQueue(state, (queue, index) =>
      virtio_dev_part_vq_cfg.encode({
        queue_size: queue.size,
        vector: state.queueVectors[index] ?? noVector,
        enabled: queue.enabled ? 1 : 0,
        queue_desc: BigInt(queue.descriptor),
        queue_driver: BigInt(queue.driver),
        queue_device: BigInt(queue.device),
      }),
    ),
  take(_, state, value, selector) {
    const index = queueOf(selector);
    const before = state.core.queues[index];
    const given = virtio_dev_part_vq_cfg.read(value);
    if (before === undefined || given.queue_size === 0 || given.queue_size > before.maxSize) {
      throw invalidField(`queue ${index} cannot have ${given.queue_size} descriptors`);
    }
    if (given.enabled > 1) throw invalidField(`queue ${index} is enabled by ${given.enabled}`);
    const vector = vectorOf(state, given.vector);
    const areas = {
      size: given.queue_size,
      descriptor: addressOf(given.queue_desc),
      driver: addressOf(given.queue_driver),
      device: addressOf(given.queue_device),
      enabled: given.enabled === 1,
    };
    // A queue that is placed anew is another queue, and does not stand where the old one did.
    const same = Object.entries({ ...before, ...areas }).every(([key, now]) => Object(before)[key] === now);
    return {
      ...withQueue(state, index, { ...areas, ring: same ? before.ring : null }),
      queueVectors: state.queueVectors.map((old, i) => (i === index ? vector : old)),
    };
  },
};

/** The function's own choice, so only compared. */
export const queueNotifyConfig: PartKind = {
  type: devicePart.VQ_NOTIFY_CFG,
  read: ({ queueNumbers }, state) =>
    eachQueue(state, (_, index) =>
      virtio_dev_part_vq_notify_data.encode({
        queue_notify_off: queueNumbers.notifyOff(index),
        queue_notif_config_data: queueNumbers.notifConfigData(index),
      }),
    ),
  take({ queueNumbers }, state, value, selector) {
    const index = queueOf(selector);
    const given = virtio_dev_part_vq_notify_data.read(value);
    if (
      given.queue_notify_off !== queueNumbers.notifyOff(index) ||
      given.queue_notif_config_data !== queueNumbers.notifConfigData(index)
    ) {
      throw invalidField(`queue ${index} is notified in another way`);
    }
    return state;
  },
};
