import { UsageError } from 'virtio/errors';
import type { Bus } from './buses/bus.ts';

/** One of our devices in a saved machine. */
export interface SavedDevice {
  /** Its place: 'PCI slot 16'. */
  readonly where: string;
  readonly bus: Bus['name'];
  /** Its device type's ID. */
  readonly type: number;
  /** What it saved on that bus. */
  readonly state: unknown;
}

/**
 * v86's state is an array that it reads by index; ours is a text far behind its last one, which a v86 without
 * our devices does not look at.
 */
const stateIndex = 300;
const signature = 'virtio-v86 2 ';

/** v86's state with ours in it. */
export function withSavedDevices(state: unknown[], devices: readonly SavedDevice[]): unknown[] {
  state[stateIndex] = signature + JSON.stringify(devices);
  return state;
}

/**
 * What {@link withSavedDevices} put in; none for a machine that never had our devices.
 *
 * @throws {UsageError} BAD_STATE when another version of this package wrote it.
 */
export function savedDevices(state: readonly unknown[]): readonly SavedDevice[] {
  const text = state[stateIndex];
  if (text === undefined || text === null) return [];
  if (typeof text !== 'string' || !text.startsWith(signature)) {
    throw new UsageError('BAD_STATE', 'the saved state is from another version of virtio-v86');
  }
  // The signature says that withSavedDevices wrote it.
  return JSON.parse(text.slice(signature.length)) as readonly SavedDevice[];
}
