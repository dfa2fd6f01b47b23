import type { PeerErrorCode } from '../../errors.ts';
import type { Configuration } from '../matrix.ts';
import type { RawDriver, RawTarget } from '../raw/driver.ts';
import type { RawPackedRing } from '../raw/packed-ring.ts';
import type { RawRing } from '../raw/ring.ts';
import type { RawSplitRing } from '../raw/split-ring.ts';

/** What an attack works with: a device that is live, with the probed queue enabled and empty. */
export interface AttackField<R extends RawRing = RawRing> {
  readonly target: RawTarget;
  readonly driver: RawDriver;
  readonly ring: R;
  /** 4096 bytes of the driver's own. */
  readonly buffer: number;
}

interface AttackBase {
  readonly name: string;
  /**
   * What the device says of it: one of these. The clause that was broken goes with the code. Empty for what a
   * device cannot tell from good behaviour, and only has to survive.
   */
  readonly expects: readonly PeerErrorCode[];
  /** True when the device lives on unharmed, and no kick is needed: the mistake is named, and no more. */
  readonly harmless?: boolean;
  /** True when a device may do either: break, or refuse the one wrong step and live on. */
  readonly mayLive?: boolean;
  /** It is made on the status, the features or the place of a queue, where the device has to name it. */
  readonly onSetUp?: boolean;
  /** Where the attack cannot be made. */
  skip?(configuration: Configuration): string | undefined;
}

/** An attack on either ring, or on none. */
export interface AnyRingAttack extends AttackBase {
  readonly ring: 'any';
  run(field: AttackField): void | Promise<void>;
}

/** An attack that is written for split rings. */
export interface SplitAttack extends AttackBase {
  readonly ring: 'split';
  run(field: AttackField<RawSplitRing>): void | Promise<void>;
}

/** An attack that is written for packed rings. */
export interface PackedAttack extends AttackBase {
  readonly ring: 'packed';
  run(field: AttackField<RawPackedRing>): void | Promise<void>;
}

/** One thing that no driver may do, and what becomes of it. */
export type DriverAttack = AnyRingAttack | SplitAttack | PackedAttack;

/** Reasons that attacks share for not being possible. */
export const needsIndirect = ({ indirect }: Configuration): string | undefined =>
  indirect ? undefined : 'INDIRECT_DESC is not negotiated';

export const needsNoIndirect = ({ indirect }: Configuration): string | undefined =>
  indirect ? 'INDIRECT_DESC is negotiated' : undefined;
