import { UsageError } from '../errors.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { ClauseId } from '../spec/clauses.ts';
import type {
  ConfigFieldsOf,
  DeviceType,
  FeatureNameOf,
  OwnFeatureNameOf,
  QueueNameOf,
} from '../spec/device-type.ts';
import type { ReservedFeatureName } from '../spec/features.ts';
import type { Endian } from '../spec/guest-endian.ts';
import type { StructValue } from '../spec/layout.ts';
import type { ActiveQueue, AvailableHandler, ServeHandler } from './active-queue.ts';
import type { DeviceResources } from './admin/resource-object.ts';
import type { Administration } from './administration.ts';
import { ConfigSpace } from './config-space.ts';
import type { Json } from './json.ts';

export type { AvailableHandler, ServeHandler } from './active-queue.ts';
export type { Json } from './json.ts';

/** The configuration fields of a device type by name. */
export type ConfigValue<T> = StructValue<ConfigFieldsOf<T>>;

/** How many queues of a family there are, and how large they may be. */
export interface QueueOffer {
  /** Queues in the family; 1 unless told. */
  readonly count?: number;
  /** The largest queue size, in descriptors; 256 unless told. */
  readonly size?: number;
}

/** A device while a driver drives it: from DRIVER_OK to the next reset. */
export interface ActiveDevice<T extends DeviceType = DeviceType> {
  /** True when the feature was negotiated. */
  has(feature: FeatureNameOf<T>): boolean;
  readonly memory: GuestMemory;
  /** The byte order that chains read and write numbers in: little, but for legacy drivers of a big-endian guest. */
  readonly endian: Endian;
  /** Set when the driver uses the legacy interface: `legacy.has('BARRIER')` tells of features that it alone has. */
  readonly legacy?: { has(feature: string): boolean } | undefined;
  /** The driver broke a rule in a way that the device can live with: it is named, as in "a frame …", and no more. */
  violation(message: string, clause?: ClauseId): void;
  /** The queue, if the driver has enabled it. */
  queue(name: QueueNameOf<T>, number?: number): ActiveQueue | undefined;
}

/**
 * What a device does, and nothing else: no ring, status, feature mask or notification. Every part is
 * optional.
 */
export interface DeviceBehaviour<T extends DeviceType = DeviceType> {
  /** The device type's own features that this device offers. */
  readonly offers?: readonly OwnFeatureNameOf<T>[];
  /** Features of the type's legacy form that it offers to legacy drivers besides. */
  readonly legacyOffers?: readonly string[];
  /** The reserved features that it offers, instead of {@link defaultReservedFeatures}. VERSION_1 always is. */
  readonly reserved?: readonly ReservedFeatureName[] | undefined;
  /** Queues that differ from one queue of 256 descriptors. */
  readonly queues?: { readonly [Q in QueueNameOf<T>]?: QueueOffer };
  /** Configuration fields that do not start as 0. */
  readonly config?: Partial<ConfigValue<T>>;
  /**
   * Queues whose buffers are requests: called with each chain; it is completed when the handler returns, or
   * when its promise settles, with what was written to `chain.writable`. A handler that throws a PeerError
   * breaks the queue; any other error makes the device need a reset and is reported.
   */
  readonly serve?: { readonly [Q in QueueNameOf<T>]?: ServeHandler };
  /** Queues whose buffers wait for the device: called when some may have become available. */
  readonly available?: { readonly [Q in QueueNameOf<T>]?: AvailableHandler };
  /** What `administer` lets a driver see and create: capabilities and resource objects (2.12.1.2, 2.12.1.3). */
  readonly resources?: DeviceResources;
  /**
   * The driver's features are a sound subset of the offer, and FEATURES_OK is about to be set. Returns what
   * is wrong with them all the same, as in "the driver …"; `undefined` when they will do. A `legacy` driver has no
   * FEATURES_OK: this is called when it first uses the device, and a refusal makes the device need a reset.
   */
  negotiate?(has: (feature: FeatureNameOf<T>) => boolean, legacy: boolean): string | undefined;
  /** The driver set DRIVER_OK, or used the device before that through the legacy interface. */
  activate?(active: ActiveDevice<T>): void;
  /**
   * The driver wrote a field that it may write; the configuration already holds the value. When it throws, or
   * its promise rejects, the device needs a reset.
   */
  writeConfig?(field: Extract<keyof ConfigFieldsOf<T>, string>, value: unknown): void | Promise<void>;
  /** The device was reset, or is about to be restored: forget the driver and all it asked for. */
  reset?(): void;
  /** The driver reset one queue: what was begun for it must have no effect on what is asked for from now on. */
  resetQueue?(name: QueueNameOf<T>, number: number): void;
  /** The device's own state, beside configuration and queues. */
  save?(): Json;
  /** Takes back what `save` gave; called before the queues go on. */
  restore?(state: Json): void;
}

/** What a device without a wish of its own offers of the reserved features. */
export const defaultReservedFeatures: readonly ReservedFeatureName[] = [
  'INDIRECT_DESC',
  'EVENT_IDX',
  'VERSION_1',
  'RING_PACKED',
  'NOTIFICATION_DATA',
  'RING_RESET',
  'SUSPEND',
];

/** A device that a transport can be given: made by {@link device}. */
export class Device<T extends DeviceType = DeviceType> {
  readonly type: T;
  readonly behaviour: DeviceBehaviour<T>;
  /** @internal */
  readonly configSpace: ConfigSpace;
  /** @internal Set by `administer`, before a transport has the device. */
  administration: Administration | undefined;
  /** @internal Set by the core that runs this device; a device has at most one. */
  onConfigUpdate: ((values: Readonly<Record<string, unknown>>) => void) | undefined;

  constructor(type: T, behaviour: DeviceBehaviour<T>) {
    this.type = type;
    this.behaviour = behaviour;
    this.configSpace = new ConfigSpace(type, behaviour.config ?? {});
  }

  /** The configuration fields as the driver sees them now. */
  get config(): ConfigValue<T> {
    // The space was made from this very type.
    return this.configSpace.values as ConfigValue<T>;
  }

  /**
   * Changes configuration fields, all in one generation, and tells the driver if there is one. While the
   * device is suspended the change waits for the driver to resume it.
   *
   * @spec 3.4.2 device: General Initialization And Device Operation / Device Suspend
   */
  updateConfig(values: Partial<ConfigValue<T>>): void {
    if (this.onConfigUpdate === undefined) this.configSpace.update(values);
    else this.onConfigUpdate(values);
  }
}

/**
 * Makes a device of a type from its behaviour.
 *
 * @example
 * const entropyDevice = device(entropy, {
 *   serve: { requestq: (chain) => chain.writable.write(randomBytes(chain.writable.length)) },
 * });
 *
 * @throws {UsageError} BAD_ARGUMENT when a feature is offered without one that it requires.
 * @spec 2.2.2 device: Basic Facilities of a Virtio Device / Feature Bits
 */
export function device<const T extends DeviceType>(type: T, behaviour: DeviceBehaviour<T>): Device<T> {
  const made = new Device(type, behaviour);
  const missing = type.missingRequirements(type.featureSet(offeredNames(made)))[0];
  if (missing !== undefined) {
    throw new UsageError(
      'BAD_ARGUMENT',
      `${type.name} offers ${missing.feature} without ${missing.anyOf.join(' or ')}`,
    );
  }
  return made;
}

/**
 * The names of all features that a device offers, before its transport adds or withholds any.
 *
 * @spec 6.2 device: Reserved Feature Bits
 */
export function offeredNames(made: Device): string[] {
  const { offers = [], reserved = defaultReservedFeatures } = made.behaviour;
  const administered = made.administration === undefined ? [] : ['ADMIN_VQ'];
  // Without administration virtqueues behind it the bit would promise what is not there.
  return ['VERSION_1', ...reserved.filter((name) => name !== 'ADMIN_VQ'), ...administered, ...offers];
}
