import { UsageError } from 'virtio/errors';
import type { PciFunctionState } from 'virtio/transports/pci';

/** One of our functions in a saved machine. */
export interface SavedFunction {
  /** PCI device number. */
  readonly slot: number;
  readonly state: PciFunctionState;
}

/**
 * v86's state is an array that it reads by index; ours is a text far behind its last one, which a v86 without
 * our devices does not look at.
 */
const stateIndex = 300;
const signature = 'virtio-v86 1 ';

/** v86's state with ours in it. */
export function withSavedFunctions(state: unknown[], functions: readonly SavedFunction[]): unknown[] {
  state[stateIndex] = signature + JSON.stringify(functions);
  return state;
}

/**
 * What {@link withSavedFunctions} put in; none for a machine that never had our devices.
 *
 * @throws {UsageError} BAD_STATE when another version of this package wrote it.
 */
export function savedFunctions(state: readonly unknown[]): readonly SavedFunction[] {
  const text = state[stateIndex];
  if (text === undefined || text === null) return [];
  if (typeof text !== 'string' || !text.startsWith(signature)) {
    throw new UsageError('BAD_STATE', 'the saved state is from another version of virtio-v86');
  }
  // The signature says that withSavedFunctions wrote it.
  return JSON.parse(text.slice(signature.length)) as readonly SavedFunction[];
}
