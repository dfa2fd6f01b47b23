import { busFreeFeatures, type ReservedFeatureName } from '../../spec/features.ts';
import type { Revision } from './commands.ts';

/** The reserved features that Channel I/O carries: neither queue reset nor administration virtqueues (4.3.4). */
export const ccwFeatures: readonly ReservedFeatureName[] = [
  ...busFreeFeatures.filter((name) => name !== 'RING_RESET'),
  'NOTIFICATION_DATA',
];

/** Those that a driver can use: it must be able to read the status that a suspend ends with. */
export function carriedAt(revision: Revision): readonly ReservedFeatureName[] {
  return revision === 2 ? ccwFeatures : ccwFeatures.filter((name) => name !== 'SUSPEND');
}
