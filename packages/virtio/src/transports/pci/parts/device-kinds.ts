import { invalidField } from '../../../device/admin/refusal.ts';
import { devicePart, virtio_dev_part_features } from '../../../spec/device-parts.ts';
import { FeatureSet, featureWords } from '../../../spec/features.ts';
import { status } from '../../../spec/status.ts';
import { type PartKind, withCore } from './part-kind.ts';

/** All feature bits there can be, in 64-bit words. */
function encodeFeatures(features: FeatureSet): Uint8Array {
  const feature_bits = Array.from(
    { length: featureWords / 2 },
    (_, i) => BigInt(features.word(2 * i)) | (BigInt(features.word(2 * i + 1)) << 32n),
  );
  return virtio_dev_part_features.encode({ feature_bits });
}

const decodeFeatures = (value: DataView): FeatureSet =>
  FeatureSet.fromWords(Array.from({ length: featureWords }, (_, i) => value.getUint32(4 * i, true)));

/** Never set, only compared. */
export const deviceFeatures: PartKind = {
  type: devicePart.DEV_FEATURES,
  optional: true,
  read: ({ core }) => [{ value: encodeFeatures(core.offered) }],
  take({ core }, state, value) {
    const given = decodeFeatures(value);
    if (!given.without(core.offered).isEmpty() || !core.offered.without(given).isEmpty()) {
      throw invalidField('the device offers other features');
    }
    return state;
  },
};

export const driverFeatures: PartKind = {
  type: devicePart.DRV_FEATURES,
  read: ({ core }) => [{ value: encodeFeatures(core.driverFeatures) }],
  take({ core }, state, value) {
    const given = decodeFeatures(value);
    const { type } = core.device;
    if (!given.without(core.offered).isEmpty() || type.missingRequirements(given).length > 0) {
      throw invalidField('the device would not have accepted these features');
    }
    return withCore(state, {
      driverFeatures: Array.from({ length: featureWords }, (_, word) => given.word(word)),
    });
  },
};

const everyStatus = Object.values(status).reduce((all, bit) => all | bit, 0);
const beforeLive = status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK;

/** Where a driver that set it has come to use the queues. */
export const isLive = (value: number): boolean => (value & (status.DRIVER_OK | status.SUSPEND)) !== 0;

export const deviceStatus: PartKind = {
  type: devicePart.DEVICE_STATUS,
  read: ({ core }) => [{ value: Uint8Array.of(core.status) }],
  take(_, state, value) {
    const given = value.getUint8(0);
    if ((given & ~everyStatus) !== 0 || (isLive(given) && (given & beforeLive) !== beforeLive)) {
      throw invalidField(`no device comes to the status ${given}`);
    }
    return withCore(state, { status: given });
  },
};
