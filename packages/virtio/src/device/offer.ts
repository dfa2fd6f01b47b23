import { UsageError } from '../errors.ts';
import type { DeviceType, SettledDevice } from '../spec/device-type.ts';
import { type FeatureSet, reservedFeatures } from '../spec/features.ts';
import { type Device, offeredNames } from './device.ts';
import type { DeviceHost } from './host.ts';

/** The features that a device offers, over a transport that carries some and adds others, and was lent packed rings and order or not. */
export function offeredFeatures(device: Device, host: DeviceHost): FeatureSet {
  const carried = new Set<string>(host.carries ?? Object.keys(reservedFeatures));
  if (host.packedRing === undefined) carried.delete('RING_PACKED');
  if (host.inOrder === undefined) carried.delete('IN_ORDER');
  const own = new Set<string>(device.behaviour.offers ?? []);
  const names = [...offeredNames(device), ...(host.adds ?? [])].filter(
    (name) => own.has(name) || carried.has(name),
  );
  return device.type.featureSet(names);
}

/**
 * The sizes of the device type's own queues at their indexes, as the device wants them; 0 for those it does not have.
 *
 * @throws {UsageError} BAD_ARGUMENT for more queues of a name than the type has.
 */
export function mostQueueSizes(device: Device): number[] {
  const offers = new Set<string>(device.behaviour.offers ?? []);
  const config = device.configSpace.values;
  const sizes = sizesOf(device, { has: (feature) => offers.has(feature), config }, (name, number) => {
    throw new UsageError('BAD_ARGUMENT', `${device.type.name} has no ${name} number ${number}`);
  });
  return Array.from(sizes, (size) => size ?? 0);
}

/** The same, of a device with which so much was negotiated; those that are not there then may be missing. */
export function queueSizes(device: Device, settled: SettledDevice): (number | undefined)[] {
  return sizesOf(device, settled, () => {});
}

function sizesOf(
  device: Device,
  settled: SettledDevice,
  missing: (name: string, number: number) => void,
): (number | undefined)[] {
  const sizes: (number | undefined)[] = [];
  const offers = new Set<string>(device.behaviour.offers ?? []);
  for (const [name, declaration] of Object.entries(device.type.queues)) {
    if (typeof declaration !== 'number' && declaration.requires !== undefined) {
      if (!offers.has(declaration.requires)) continue;
    }
    const { count = 1, size = 256 } = device.behaviour.queues?.[name] ?? {};
    for (let number = 0; number < count; number++) {
      const index = device.type.queueIndex(name, number, settled);
      if (index === undefined) missing(name, number);
      else sizes[index] = size;
    }
  }
  return sizes;
}

/**
 * What is wrong with the features that a driver accepts of those that are offered, as in "the driver …". With `isPartial`
 * somebody between the two keeps some to himself.
 */
export function featuresMistake(
  type: DeviceType,
  accepted: FeatureSet,
  offered: FeatureSet,
  isPartial = false,
): string | undefined {
  const unoffered = accepted.without(offered);
  if (!unoffered.isEmpty()) return `accepted ${type.featureNames(unoffered).join(', ')}, not offered`;
  const kept: readonly string[] = isPartial ? type.keptByFrontEnds : [];
  const lacks = type.missingRequirements(accepted);
  const missing = lacks.find(({ anyOf }) => !anyOf.some((name) => kept.includes(name)));
  return missing && `accepted ${missing.feature} without ${missing.requires}`;
}
