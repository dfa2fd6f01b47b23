import { describe, expect, it } from 'vitest';
import { deviceType } from '../spec/device-type.ts';
import { featuresMistake } from './offer.ts';

const type = deviceType({
  id: 4,
  name: 'sample',
  features: {
    KEPT: 0,
    NEEDS: { bit: 1, requires: ['KEPT'] },
    OTHER: { bit: 2, requires: [['NEEDS', 'FAR']] },
    FAR: 3,
  },
  queues: {},
  keptByFrontEnds: ['KEPT'],
});
const offered = type.featureSet(['KEPT', 'NEEDS', 'OTHER', 'FAR']);
const mistake = (names: readonly ('KEPT' | 'NEEDS' | 'OTHER' | 'FAR')[], isPartial?: boolean) =>
  featuresMistake(type, type.featureSet(names), offered, isPartial);

describe('the features of a driver', () => {
  // @holds 2.2.2 device: Basic Facilities of a Virtio Device / Feature Bits
  it('come with what they need', () => {
    expect(mistake(['KEPT', 'NEEDS', 'OTHER'])).toBeUndefined();
    expect(mistake(['NEEDS'])).toBe('accepted NEEDS without KEPT');
    expect(mistake(['OTHER'])).toBe('accepted OTHER without NEEDS or FAR');
    expect(featuresMistake(type, offered, type.featureSet(['KEPT', 'NEEDS']))).toBe(
      'accepted OTHER, FAR, not offered',
    );
  });

  it('may lack what somebody on the way keeps to himself, and nothing else', () => {
    expect(mistake(['NEEDS'], true)).toBeUndefined();
    expect(mistake(['OTHER'], true)).toBe('accepted OTHER without NEEDS or FAR');
    expect(mistake(['OTHER', 'NEEDS'], true)).toBeUndefined();
  });
});
