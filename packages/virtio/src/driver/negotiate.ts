import { PeerError } from '../errors.ts';
import { deviceMistakes } from '../peer-errors.ts';
import type { DeviceType, OwnFeatureNameOf } from '../spec/device-type.ts';
import { FeatureSet, type ReservedFeatureName, reservedFeatures } from '../spec/features.ts';
import { legacyFeatures } from './legacy.ts';
import { defaultAcceptedFeatures } from './options.ts';
import type { Transport } from './transport.ts';

/**
 * What the driver accepts of the offer: what it understands, what the transport carries, and nothing without
 * what it requires.
 *
 * @spec 2.2.1 driver: Basic Facilities of a Virtio Device / Feature Bits
 * @spec 6.1 driver: Reserved Feature Bits
 */
export function chooseFeatures<T extends DeviceType>(
  transport: Transport,
  type: T,
  accepted: readonly ReservedFeatureName[] = defaultAcceptedFeatures,
  understood: readonly OwnFeatureNameOf<T>[],
  offered: FeatureSet,
): FeatureSet {
  const isLegacy = transport.legacy !== undefined;
  if (!isLegacy && !offered.has(reservedFeatures.VERSION_1)) {
    throw new PeerError(
      'OFFER_INVALID',
      `the ${type.name} device does not offer VIRTIO_F_VERSION_1: it is legacy`,
      deviceMistakes.OFFER_INVALID,
    );
  }
  const missing = type.missingRequirements(offered)[0];
  if (missing !== undefined) {
    throw new PeerError(
      'OFFER_INVALID',
      `the ${type.name} device offers ${missing.feature} without ${missing.anyOf.join(' or ')}`,
      deviceMistakes.OFFER_INVALID,
    );
  }
  const carried = new Set<string>(transport.carries);
  const reserved = accepted.filter((name) => carried.has(name));
  const wanted = type.featureSet(['VERSION_1', ...reserved, ...understood]);
  let chosen = isLegacy ? legacyFeatures(wanted, offered) : wanted.intersect(offered);
  for (
    let lacks = type.missingRequirements(chosen);
    lacks.length > 0;
    lacks = type.missingRequirements(chosen)
  ) {
    chosen = chosen.without(FeatureSet.of(lacks.map((lack) => type.features[lack.feature] ?? 0)));
  }
  return chosen;
}
