import type { Json } from '../../device/device.ts';
import { UsageError } from '../../errors.ts';

/** What is saved of a socket device: connections do not outlive the process that their other ends are in. */
export type VsockState = {
  /** A driver used the device, and is to hear that its connections are gone. */
  readonly driven: boolean;
};

/**
 * Takes JSON for what `save` gave: it may come from a damaged file.
 *
 * @throws {UsageError} BAD_STATE when it is anything else.
 */
export function asVsockState(state: Json): VsockState {
  if (typeof state === 'object' && state !== null && 'driven' in state && typeof state.driven === 'boolean') {
    return { driven: state.driven };
  }
  throw new UsageError('BAD_STATE', 'this is not the saved state of a socket device');
}
