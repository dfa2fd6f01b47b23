import { PeerError } from '../errors.ts';
import { deviceMistakes } from '../peer-errors.ts';
import type { DeviceType } from '../spec/device-type.ts';
import { FeatureSet } from '../spec/features.ts';
import type { Endian } from '../spec/guest-endian.ts';
import { legacyReservedFeatures } from '../spec/legacy.ts';
import { isSplitRingSize } from '../virtqueue/split/layout.ts';
import type { LegacyTransport, Transport } from './transport.ts';

/** How often a read without a generation is tried again while the answer changes. */
const agreeingTries = 100;

const firstWord = FeatureSet.fromWords([0xffff_ffff]);
const alwaysAccepted = FeatureSet.of([legacyReservedFeatures.ANY_LAYOUT]);

/** What a driver accepts through the legacy interface: 32 bits, ANY_LAYOUT among them if it is offered. */
export function legacyFeatures(understood: FeatureSet, offered: FeatureSet): FeatureSet {
  return understood.union(alwaysAccepted).intersect(firstWord).intersect(offered);
}

/** The byte order of the device's configuration. */
export function configEndian(transport: Transport, type: DeviceType): Endian {
  return type.legacy.configIsLittleEndian === true ? 'little' : (transport.legacy?.endian ?? 'little');
}

/**
 * The Queue Size of a legacy queue: the device's own where it cannot be chosen.
 *
 * @throws {PeerError} LAYOUT_INVALID when it is none that a ring can have.
 */
export function legacyQueueSize(legacy: LegacyTransport, most: number, wished: number): number {
  if (!legacy.sizeIsFixed) return wished;
  if (isSplitRingSize(most)) return most;
  throw new PeerError('LAYOUT_INVALID', `a legacy queue of ${most} descriptors cannot be`);
}

/**
 * Reads again until two reads agree: the legacy interface has no generation.
 *
 * @throws {PeerError} GENERATION_UNSTABLE when none ever do.
 */
export async function untilTwoAgree<V>(read: () => Promise<V>): Promise<V> {
  let before = await read();
  for (let tries = 0; tries < agreeingTries; tries++) {
    const now = await read();
    if (inText(now) === inText(before)) return now;
    before = now;
  }
  throw new PeerError(
    'GENERATION_UNSTABLE',
    `no two of ${agreeingTries} reads of the configuration agree`,
    deviceMistakes.GENERATION_UNSTABLE,
  );
}

const inText = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part));
