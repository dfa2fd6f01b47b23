import type { ConformanceCase } from 'virtio/testing';
import { cases as configSpace } from './config-space.case.ts';
import { cases as deviceStatus } from './device-status.case.ts';
import { cases as features } from './features.case.ts';
import { cases as initialisation } from './initialisation.case.ts';
import { cases as messageFraming } from './message-framing.case.ts';
import { cases as notificationSuppression } from './notification-suppression.case.ts';
import { cases as packedRing } from './packed-ring.case.ts';
import { cases as reservedFeatures } from './reserved-features.case.ts';
import { cases as reset } from './reset.case.ts';
import { cases as splitRing } from './split-ring.case.ts';
import { cases as suspend } from './suspend.case.ts';
import { cases as virtqueueReset } from './virtqueue-reset.case.ts';

/** Every case, by chapter. */
export const allCases: readonly ConformanceCase[] = [
  ...deviceStatus,
  ...features,
  ...reset,
  ...configSpace,
  ...virtqueueReset,
  ...messageFraming,
  ...splitRing,
  ...packedRing,
  ...notificationSuppression,
  ...initialisation,
  ...suspend,
  ...reservedFeatures,
];
