import type {
  ConfigFieldsOf,
  DeviceType,
  FeatureNameOf,
  OwnFeatureNameOf,
  QueueNameOf,
} from '../spec/device-type.ts';
import type { ReservedFeatureName } from '../spec/features.ts';
import type { StructValue } from '../spec/layout.ts';

/** How a driver wants its device. */
export interface OpenOptions<T extends DeviceType> {
  /**
   * The type's own features that this driver understands. A function is told what the device offers, with
   * DRIVER set and before FEATURES_OK: it may read the configuration to choose.
   */
  readonly features: readonly OwnFeatureNameOf<T>[] | FeatureChoice<T>;
  /** Reserved features that the driver would accept; {@link defaultAcceptedFeatures} unless told. */
  readonly reserved?: readonly ReservedFeatureName[] | undefined;
  /** The largest queue size to use, in descriptors; 256 unless told. */
  readonly queueSize?: number;
  /** When an indirect table is used, where negotiated; `auto` unless told. */
  readonly indirectPolicy?: 'never' | 'auto' | 'always';
  /**
   * The queues to set up, told from what was negotiated and from the configuration; every queue of number 0
   * whose feature is there, unless told.
   */
  readonly queues?: (device: NegotiatedDevice<T>) => readonly QueueChoice<T>[];
  /**
   * How many administration virtqueues to set up where VIRTIO_F_ADMIN_VQ is negotiated: 1 unless told, and no
   * more than there are.
   */
  readonly adminQueues?: number;
  /** The configuration may have changed. */
  readonly onConfigChange?: () => void;
  /** The device broke the specification, needs a reset, or is gone. All requests have failed by then. */
  readonly onFailure?: (error: Error) => void;
}

/** Chooses among the features that the device offers. */
export type FeatureChoice<T extends DeviceType> = (
  offers: (feature: FeatureNameOf<T>) => boolean,
) => Promise<readonly OwnFeatureNameOf<T>[]>;

/** A queue of a family. */
export interface QueueChoice<T extends DeviceType> {
  readonly name: QueueNameOf<T>;
  readonly number?: number;
}

/** What is known of a device between FEATURES_OK and DRIVER_OK. */
export interface NegotiatedDevice<T extends DeviceType> {
  has(feature: FeatureNameOf<T>): boolean;
  /** The fields whose features the device offers. */
  readonly config: Partial<StructValue<ConfigFieldsOf<T>>>;
}

/** What a driver accepts of the reserved features, where offered and carried by the transport. */
export const defaultAcceptedFeatures: readonly ReservedFeatureName[] = [
  'INDIRECT_DESC',
  'EVENT_IDX',
  'VERSION_1',
  'ACCESS_PLATFORM',
  'RING_PACKED',
  'ORDER_PLATFORM',
  'NOTIFICATION_DATA',
  'NOTIF_CONFIG_DATA',
  'RING_RESET',
  'SUSPEND',
];
