import type { HostError } from 'virtio/errors';
import { headerField } from './header-fields.ts';

/** What the feature bits of a header say. */
export interface Features {
  /** Reference counts may be too low: somebody postponed them and did not come to it. */
  readonly dirty: boolean;
  /** Somebody found that the image contradicts itself. */
  readonly corrupt: boolean;
  readonly hasCompressionType: boolean;
  /** Whoever writes has to clear these first, since what they promise is not kept up here. */
  readonly autoclear: boolean;
}

/** Bits of incompatible_features. */
export const incompatible = { dirty: 0, corrupt: 1, compressionType: 3 } as const;

/** What stands in the way where the image names it not itself. */
const names: Readonly<Record<number, string>> = { 2: 'external data file', 4: 'extended L2 entries' };
const known: readonly number[] = Object.values(incompatible);

/** @throws {HostError} BAD_IMAGE for features without which the image cannot be understood, by their names. */
export function readFeatures(
  view: DataView,
  version: 2 | 3,
  featureNames: ReadonlyMap<number, string>,
  bad: (what: string) => HostError,
): Features {
  if (version === 2) return { dirty: false, corrupt: false, hasCompressionType: false, autoclear: false };
  const bits = view.getBigUint64(headerField.incompatible_features);
  const has = (bit: number): boolean => ((bits >> BigInt(bit)) & 1n) === 1n;
  const unknown = Array.from({ length: 64 }, (_, bit) => bit)
    .filter((bit) => has(bit) && !known.includes(bit))
    .map((bit) => names[bit] ?? featureNames.get(bit) ?? `bit ${bit}`);
  if (unknown.length > 0) throw bad(`needs what is not there: ${unknown.join(', ')}`);
  return {
    dirty: has(incompatible.dirty),
    corrupt: has(incompatible.corrupt),
    hasCompressionType: has(incompatible.compressionType),
    autoclear: view.getBigUint64(headerField.autoclear_features) !== 0n,
  };
}
