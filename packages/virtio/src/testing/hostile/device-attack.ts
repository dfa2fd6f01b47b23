import type { Transport } from '../../driver/transport.ts';
import type { PeerErrorCode } from '../../errors.ts';
import type { Configuration } from '../matrix.ts';

/** One thing that no device may do to its driver. */
export interface DeviceAttack {
  readonly name: string;
  /**
   * What the driver says of it: one of these codes. `works` when the driver must live with
   * it and do its work; `survives` when it may do either.
   */
  readonly expects: readonly (PeerErrorCode | 'DEVICE_GONE' | 'BAD_STATE' | 'works' | 'survives')[];
  /** Where the attack cannot be made. */
  skip?(configuration: Configuration): string | undefined;
  /** A sound device's transport, spoilt. */
  spoil(inner: Transport, configuration: Configuration): Transport;
}
