import { type DeviceType, oneOf } from './device-type.ts';
import type { FeatureSet } from './features.ts';

/** True when a configuration field exists with these features. */
export function hasField(type: DeviceType, name: string, features: FeatureSet): boolean {
  const required = type.configRequires[name];
  return (
    required === undefined || oneOf(required).some((feature) => features.has(type.features[feature] ?? -1))
  );
}
