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
 * The sizes of the device type's own queues at their indexes, as the device wants them; those that it does not have are
 * missing. With `settled`, when so much was negotiated; else all that it may have.
 *
 * @throws {UsageError} BAD_ARGUMENT for more queues of a name than the type has at most.
 */
export function queueSizes(device: Device, settled?: SettledDevice): (number | undefined)[] {
  const { type, behaviour, configSpace } = device;
  const sizes: (number | undefined)[] = [];
  const offers = new Set<string>(behaviour.offers ?? []);
  const most = { has: (feature: string) => offers.has(feature), config: configSpace.values };
  for (const [name, declaration] of Object.entries(type.queues)) {
    if (typeof declaration !== 'number' && declaration.requires !== undefined) {
      if (!offers.has(declaration.requires)) continue;
    }
    const { count = 1, size = 256 } = behaviour.queues?.[name] ?? {};
    for (let number = 0; number < count; number++) {
      const index = type.queueIndex(name, number, settled ?? most);
      if (index !== undefined) sizes[index] = size;
      else if (settled === undefined)
        throw new UsageError('BAD_ARGUMENT', `${type.name} has no ${name} number ${number}`);
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
  const [missing] = type.missingRequirements(accepted, isPartial ? type.keptByFrontEnds : []);
  return missing && `accepted ${missing.feature} without ${missing.anyOf.join(' or ')}`;
}
