import { PeerError, type PeerErrorCode, type VirtioError } from '../errors.ts';
import type { DeviceType } from '../spec/device-type.ts';
import { FeatureSet } from '../spec/features.ts';
import { type Endian, encodeFor, guestView, type ViewOf, viewOf } from '../spec/guest-endian.ts';
import { legacyReservedFeatures } from '../spec/legacy.ts';
import { status } from '../spec/status.ts';
import type { ConfigSpace, ConfigWrite } from './config-space.ts';
import type { ActiveDevice, Device } from './device.ts';
import { readLittle, writeLittle } from './little-endian.ts';
import type { StatusStep } from './status-machine.ts';
import type { Tracing } from './tracing.ts';

/** How a driver of before virtio 1.0 uses a device: the rules of the sections headed "Legacy Interface". */
export interface LegacyInterface {
  /** The guest's byte order, which numbers in rings, messages and the configuration have. */
  readonly endian: Endian;
  /** How structures in messages are seen then. */
  readonly viewOf: ViewOf | undefined;
  /** What a device that offers `modern` offers through this interface: 32 bits. */
  offered(device: Device, modern: FeatureSet): FeatureSet;
  /** Puts the driver's features in force, and names what is wrong with them: no bit asks whether they may. */
  settleFeatures(core: LegacyCore): void;
  /** What a device is told beside what it always is. */
  context(core: LegacyCore): Pick<ActiveDevice, 'endian' | 'legacy'>;
  checkStatusWrite(current: number, written: number): StatusStep;
  /** As those of the configuration space, with its bytes in the guest's order. */
  readConfig(type: DeviceType, space: ConfigSpace, offset: number, width: number): number;
  writeConfig(
    type: DeviceType,
    space: ConfigSpace,
    offset: number,
    width: number,
    value: number,
  ): ConfigWrite | undefined;
}

/** What it needs of a device's core. */
interface LegacyCore {
  readonly device: Device;
  readonly session: { driverFeatures: FeatureSet };
  readonly offered: FeatureSet;
  readonly trace: Tracing | undefined;
  /** What the device itself has against the driver's features. */
  refusal(): string | undefined;
  violation(code: PeerErrorCode, message: string): void;
  needsReset(error: VirtioError): void;
}

/** What is left of the features that a legacy driver wrote. */
interface SoundFeatures {
  readonly features: FeatureSet;
  readonly mistakes: readonly string[];
}

const { ANY_LAYOUT, UNUSED } = legacyReservedFeatures;
const legacyBits = FeatureSet.fromWords([0xffff_ffff]);
const added = FeatureSet.of([ANY_LAYOUT, UNUSED]);

/**
 * The legacy interface for a guest of the byte order that is told: little-endian everywhere but on Channel I/O
 * and for some guests of MMIO and PCI. A transport that is given it can serve legacy drivers; one that is not
 * leaves the code out of the bundle.
 */
export function legacyInterface(endian: Endian = 'little'): LegacyInterface {
  return {
    endian,
    viewOf: viewOf(endian),
    offered: ({ type, behaviour }, modern) => {
      const bits = (behaviour.legacyOffers ?? []).map((name) => type.legacy.features?.[name] ?? UNUSED);
      return modern.intersect(legacyBits).union(added).union(FeatureSet.of(bits));
    },
    settleFeatures,
    context: (core) => ({ endian, legacy: { has: (feature) => hasLegacy(core, feature) } }),
    checkStatusWrite: checkLegacyStatusWrite,
    readConfig: (type, space, offset, width) =>
      isSwapped(type, endian)
        ? readLittle(bytesOf(type, space, endian), offset, width)
        : space.read(offset, width),
    writeConfig: (type, space, offset, width, value) =>
      isSwapped(type, endian)
        ? writeSwapped(type, space, endian, { offset, width, value })
        : space.write(offset, width, value, writableIn(type)),
  };
}

/**
 * What a legacy driver has accepted holds from its first use of the device, as far as it is sound.
 *
 * @spec 2.2.2 device: Basic Facilities of a Virtio Device / Feature Bits
 */
function settleFeatures(core: LegacyCore): void {
  const { session, offered } = core;
  const { type } = core.device;
  const { features, mistakes } = soundFeatures(type, session.driverFeatures, offered);
  for (const mistake of mistakes) core.violation('FEATURES_REFUSED', `the driver ${mistake}`);
  session.driverFeatures = features;
  const refusal = core.refusal();
  core.trace?.features(type, features, refusal === undefined);
  if (refusal !== undefined) core.needsReset(new PeerError('FEATURES_REFUSED', `the driver ${refusal}`));
}

const hasLegacy = ({ device: { type }, session }: LegacyCore, feature: string): boolean =>
  session.driverFeatures.has(type.legacy.features?.[feature] ?? -1);

/** There is no FEATURES_OK to withhold: what cannot be is left out. */
function soundFeatures(type: DeviceType, written: FeatureSet, offered: FeatureSet): SoundFeatures {
  const unused = FeatureSet.of([UNUSED]);
  const mistakes: string[] = [];
  const leaveOut = (from: FeatureSet, some: FeatureSet, why: string): FeatureSet => {
    const present = from.intersect(some);
    if (!present.isEmpty()) mistakes.push(`accepted ${type.featureNames(present).join(', ')}${why}`);
    return from.without(some);
  };
  let features = leaveOut(written, written.without(offered), ', not offered');
  features = leaveOut(features, unused, ', which is offered to find drivers that accept everything');
  for (let lacks = type.missingRequirements(features); lacks.length > 0; ) {
    const [{ feature, anyOf } = { feature: '', anyOf: [''] }] = lacks;
    const why = ` without ${anyOf.join(' or ')}`;
    features = leaveOut(features, FeatureSet.of([type.features[feature] ?? UNUSED]), why);
    lacks = type.missingRequirements(features);
  }
  return { features, mistakes };
}

/** As `checkStatusWrite`, but DRIVER_OK needs no FEATURES_OK, which does not exist. */
function checkLegacyStatusWrite(current: number, written: number): StatusStep {
  const news = written & ~current;
  const removed = current & ~written & ~status.DEVICE_NEEDS_RESET;
  const mistakes: StatusStep['mistakes'][number][] = [];
  if (removed !== 0) {
    const message = `status bits 0x${removed.toString(16)} were cleared`;
    mistakes.push({ code: 'STATUS_BIT_CLEARED', message });
  }
  if ((news & status.FEATURES_OK) !== 0) {
    const message =
      'FEATURES_OK was set through the legacy interface, which has none: ' +
      'a modern driver must use the modern one, and a device that has it';
    mistakes.push({ code: 'STATUS_SEQUENCE', message });
  }
  return {
    set: news & (status.ACKNOWLEDGE | status.DRIVER | status.FAILED),
    featuresOk: false,
    driverOk: (news & status.DRIVER_OK) !== 0,
    suspend: false,
    resume: false,
    mistakes,
  };
}

const isSwapped = (type: DeviceType, endian: Endian): boolean =>
  endian === 'big' && type.legacy.configIsLittleEndian !== true;

/** The fields that a legacy driver may write. */
const writableIn = ({ driverWritable, legacy }: DeviceType): readonly string[] => [
  ...driverWritable,
  ...(legacy.driverWritable ?? []),
];

const bytesOf = (type: DeviceType, space: ConfigSpace, endian: Endian): Uint8Array =>
  encodeFor(endian, type.config, space.values);

function writeSwapped(
  type: DeviceType,
  space: ConfigSpace,
  endian: Endian,
  { offset, width, value }: { offset: number; width: number; value: number },
): ConfigWrite | undefined {
  const field = space.writableField(offset, width, writableIn(type));
  if (field === undefined) return undefined;
  const bytes = bytesOf(type, space, endian);
  writeLittle(bytes, offset, width, value);
  const written: unknown = type.config.field[field]?.get(guestView(bytes, endian));
  space.set({ [field]: written });
  return { field, value: written };
}
